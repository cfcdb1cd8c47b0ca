"""Texts with blanks, made of held-out text as the recipe's objective hides it, and filled in by a model.

A blank stands in a text under its token's name: `<mask>` for a token, T5's `<extra_id_0>` for a span of any
length. What fills it, the model's words or the text's own, stands between « and ».

    returns the <mask> of a list      returns the «sum» of a list

BART's `<mask>` is for any number of words too, but it writes the whole text, so nothing marks what filled it.
"""

from collections.abc import Sequence

import numpy as np

from data_prep.contract.dataset import Dataset
from data_prep.contract.pieces import SPACE
from data_prep.contract.vocabulary import MASK, Vocabulary
from pipeline.config import ObjectiveConfig
from pipeline.data.tables import special_tokens
from pipeline.evaluation.prompt_forms import padded
from pipeline.evaluation.scoring import LanguageModel, batch_logits, batches_by_length
from pipeline.generation.sampling import GREEDY, generate
from pipeline.objectives.batches import Batch
from pipeline.objectives.denoising import NoiseSettings, denoising
from pipeline.objectives.draws import combine
from pipeline.objectives.masked import masked_lm
from pipeline.objectives.registry import objective_of
from pipeline.objectives.samples import Samples
from pipeline.objectives.sentences import single
from pipeline.objectives.spans import SpanLengths, span_corruption
from pipeline.prompting.fill import spans_of
from pipeline.prompting.text import blank_names, blanked, framed

Fills = dict[int, list[int]]
"""Token ids by the position of the blank that they fill."""


def with_blanks(
    objective: ObjectiveConfig, dataset: Dataset, texts: Sequence[Sequence[int]], seed: int
) -> list[tuple[list[int], str]]:
    """What a model reads for each text, all of one length, and the text with its own words marked."""
    vocabulary, special = dataset.vocabulary, special_tokens(dataset.vocabulary)
    tokens = np.array(texts, dtype=np.int64)
    count, length = tokens.shape
    keys = combine(seed, np.arange(count), length)
    samples = Samples(tokens, np.roll(tokens, -1, axis=1), np.full(count, length), keys)
    if objective.hides_tokens:
        batch = masked_lm(single(samples, special), keys, special, objective.masking, objective.density)
        batch["tokens"] = np.where(batch["weights"] > 0, special.mask, batch["targets"])
    elif objective.kind == "span_corruption":
        lengths = SpanLengths(length, objective.density, objective.mean_span, objective.closing_sentinel)
        batch = span_corruption(samples, special, lengths)
    else:
        batch = denoising(
            samples, special, ("infill",), NoiseSettings(objective.density, objective.mean_span)
        )
    return list(zip(read(batch, vocabulary), restored(batch, vocabulary), strict=True))


def read(batch: Batch, vocabulary: Vocabulary) -> list[list[int]]:
    """What the encoder of a batch reads, without padding."""
    rows = batch.get("encoder_tokens", batch["tokens"])
    return [row[row != vocabulary.pad].tolist() for row in rows]


def restored(batch: Batch, vocabulary: Vocabulary) -> list[str]:
    """The text of each sample of a batch; where blanks tell which words were hidden, these are marked."""
    found = []
    for row, sample in zip(read(batch, vocabulary), _rows(batch), strict=True):
        targets, hidden = sample["targets"].tolist(), sample["weights"] > 0
        if "encoder_tokens" not in batch:
            marks = {int(place): [targets[place]] for place in np.flatnonzero(hidden)}
            found.append(shown(vocabulary, targets, marks))
        elif any(token in vocabulary.sentinels for token in row):
            found.append(shown(vocabulary, row, spans_filled(vocabulary, row, targets)))
        else:
            found.append(vocabulary.decode(targets))
    return found


def _rows(batch: Batch) -> list[Batch]:
    return [{name: array[row] for name, array in batch.items()} for row in range(len(batch["targets"]))]


def composed(objective: ObjectiveConfig, vocabulary: Vocabulary, text: str) -> list[int]:
    """A user's text as the model reads it; `<mask>` and the sentinels in it are blanks."""
    return framed(objective_of(objective), vocabulary, blanked(vocabulary, text))


def fill(model: LanguageModel, rows: Sequence[Sequence[int]], max_tokens: int) -> list[str]:
    """Each text with the model's likeliest words in its blanks; a denoiser writes the whole text."""
    vocabulary, kind = model.vocabulary, model.config.objective.kind
    if kind == "masked_lm":
        answers = likeliest(model, rows)
    else:
        answers = generate(model, rows, max_tokens, GREEDY, {vocabulary.eos})
    if kind == "denoising":
        return [vocabulary.decode(answer) for answer in answers]
    fill_one = masks_filled if kind == "masked_lm" else spans_filled
    return [
        shown(vocabulary, row, fill_one(vocabulary, row, answer))
        for row, answer in zip(rows, answers, strict=True)
    ]


def likeliest(model: LanguageModel, rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """An encoder's likeliest token of text at each position of each row, each position by itself.

    Rows of one length are read together, since an encoder would look at padding.
    """
    import torch

    vocabulary = model.vocabulary
    reserved = torch.tensor(sorted(vocabulary.reserved))
    found: list[list[int]] = [[] for _ in rows]
    for length in sorted({len(row) for row in rows}):
        places = [place for place, row in enumerate(rows) if len(row) == length]
        for batch in batches_by_length([length] * len(places)):
            some = [places[index] for index in batch]
            logits_BSV = batch_logits(model, {"tokens": padded([rows[place] for place in some], 0)})
            text_BSV = logits_BSV[..., : vocabulary.size].index_fill(
                -1, reserved.to(logits_BSV.device), -np.inf
            )
            best_BS = text_BSV.argmax(dim=-1)
            for place, best in zip(some, best_BS.tolist(), strict=True):
                found[place] = best
    return found


def masks_filled(vocabulary: Vocabulary, row: Sequence[int], answer: Sequence[int]) -> Fills:
    """The tokens of an answer where the row has `<mask>`."""
    mask = vocabulary.id_of(MASK)
    return {place: [answer[place]] for place, token in enumerate(row) if token == mask}


def spans_filled(vocabulary: Vocabulary, row: Sequence[int], answer: Sequence[int]) -> Fills:
    """What an answer says behind each sentinel, at the sentinel's place in the row.

    A sentinel that the row does not have starts what fills nothing.
    """
    spans = spans_of([token for token in answer if token != vocabulary.eos], vocabulary.sentinels)
    return {place: spans[token] for place, token in enumerate(row) if token in spans}


def shown(vocabulary: Vocabulary, row: Sequence[int], fills: Fills | None = None) -> str:
    """A row as text: its blanks by name, or what fills them in « »; other reserved tokens leave nothing."""
    names = blank_names(vocabulary)
    parts: list[str] = []
    run: list[int] = []
    for place, token in enumerate([*row, vocabulary.eos]):
        filling = None if fills is None else fills.get(place)
        if filling is None and token not in vocabulary.reserved:
            run.append(token)
            continue
        parts.append(_text(vocabulary, run))
        run = []
        if filling is not None or (fills is not None and token in names):
            parts.append(_marked(vocabulary, filling or []))
        elif token in names:
            parts.append(names[token])
    return "".join(parts).strip(" ")


def _marked(vocabulary: Vocabulary, filling: Sequence[int]) -> str:
    text = _text(vocabulary, filling)
    return f" «{text[1:]}»" if text.startswith(" ") else f"«{text}»"


def _text(vocabulary: Vocabulary, run: Sequence[int]) -> str:
    """The text of a run of tokens, with the space before its first word, which decoding drops."""
    if not run:
        return ""
    space = " " if vocabulary.piece_of(run[0]).startswith(SPACE) else ""
    return space + vocabulary.decode(run).removeprefix(" ")
