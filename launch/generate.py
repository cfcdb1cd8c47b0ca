"""`bloomery generate`: what a trained model says after texts or to them, and what it fills in."""

from collections.abc import Callable
from pathlib import Path

from data_prep.contract.settings import InputError
from pipeline.generation.beams import Beams, beam_search
from pipeline.generation.load import load_model
from pipeline.generation.sampling import Sampling, generate, stream
from pipeline.prompting.fill import Filled, fill
from pipeline.prompting.text import growing, prompt_ids, readable, stop_ids

CANDIDATES = 5
"""How many tokens are named for a blank."""


def answers(
    path: Path,
    texts: list[str],
    chat: bool,
    tokens: int,
    how: Sampling | Beams,
    write: Callable[[str], None],
    average: bool = False,
) -> list[str]:
    """What the model of a run or checkpoint says after each text, or with `chat` to it.

    It is written too, and as it comes where one text is drawn.
    """
    model = load_model(path, average)
    if model.config.model.architecture == "encoder":
        raise InputError(f"{path}: an encoder does not go on with a text; --fill has it fill in blanks")
    prompts, stops = [prompt_ids(model, text, chat) for text in texts], stop_ids(model.vocabulary, chat)
    if len(texts) == 1 and isinstance(how, Sampling):
        drawn = (token for _, token in stream(model, prompts, tokens, how, stops))
        told = ""
        for part in growing(model, texts[0], chat, drawn):
            write(part)
            told += part
        write("\n")
        return [told]
    if isinstance(how, Sampling):
        found = generate(model, prompts, tokens, how, stops)
    else:
        found = beam_search(model, prompts, tokens, how, stops)
    whole = [readable(model, text, chat, one) for text, one in zip(texts, found, strict=True)]
    write("\n\n".join(whole) + "\n")
    return whole


def about_images(
    path: Path,
    pictures: list[Path],
    texts: list[str],
    tokens: int,
    how: Sampling,
    write: Callable[[str], None],
) -> list[str]:
    """What the model of a run says to each question about the pictures; it is written too."""
    from pipeline.evaluation.images.answering import answers_about
    from pipeline.evaluation.images.loading import open_images

    found = answers_about(open_images(path), pictures, texts, tokens, how)
    write("\n\n".join(found) + "\n")
    return found


def blanks(path: Path, texts: list[str], tokens: int, beams: Beams, average: bool = False) -> list[Filled]:
    """Each text with its blanks filled in by the model of a run or checkpoint."""
    return fill(load_model(path, average), texts, CANDIDATES, tokens, beams)


def filled_lines(filled: Filled) -> list[str]:
    """A filled text, and a line for each blank for which there are several candidates."""
    lines = [filled.text]
    for number, candidates in enumerate(filled.blanks, 1):
        if len(candidates) > 1:
            shares = ", ".join(f"{one.text!r} {one.probability:.3f}" for one in candidates)
            lines.append(f"  blank {number}: {shares}")
    return lines
