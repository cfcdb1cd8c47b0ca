"""The proof that a tokenizer.json gives the ids that the SentencePiece model gives, on a large sample.

SentencePiece adds up the scores of a unigram model's pieces in float32 from the start of a text, so that far
into it ways to cut a word whose scores are all but equal are told apart by rounding alone, in an order of no
meaning. The library tokenizers adds in float64. Where the two differ they must have found such a tie.
"""

import json
import random
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from data_prep.contract.library import open_tokenizer
from data_prep.contract.roles import TOKENIZER_JSON
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import RESERVED, Vocabulary
from pipeline.conversion.agreement import Say

SAMPLE_CHARACTERS = 1_000_000
ROUNDING = 4 * 2.0**-23
"""A few roundings of a float32 sum, relative to it."""
HARD = (
    "",
    " ",
    "  two  spaces and one behind ",
    "\n\n\tline ends\r\n",
    " ".join(RESERVED),
    "<0x0A><0xFF> <extra_id_0>x<pad>\u2581\u2581y",
    "na\u00efve \u65e5\u672c\u8a9e \u0440\u0443\u0441 \U0001f642 \u00a0\u3000 e\u0301",
)
"""Texts that are easily got wrong."""


def sample() -> Iterator[str]:
    """Hard cases, random characters of the whole of Unicode, and the sources of Python's standard library."""
    yield from HARD
    draw = random.Random(0)
    for _ in range(200):
        codes = (draw.choice((draw.randrange(32, 0x3000), draw.randrange(0x10FFFF))) for _ in range(50))
        yield "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)
    characters = 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*/*.py")):
        text = path.read_text(errors="ignore")
        characters += len(text)
        if characters > SAMPLE_CHARACTERS:
            return
        yield text


def compare(content: dict[str, Any], vocabulary: Vocabulary, say: Say) -> None:
    """Encode and decode the sample on both sides; `InputError` with the first text that differs."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.encode_special_tokens = True
    is_unigram = content["model"]["type"] == "Unigram"
    scores = dict(content["model"]["vocab"]) if is_unigram else {}
    tokens = ties = 0
    for text in sample():
        ours, theirs = vocabulary.encode(text), tokenizer.encode(text, add_special_tokens=False).ids
        tokens += len(ours)
        if ours != theirs:
            pieces = [[vocabulary.piece_of(index) for index in ids] for ids in (ours, theirs)]
            found = count_ties(pieces[0], pieces[1], scores)
            if found is None:
                raise InputError(f"tokenizer.json would give other ids: {_excerpt(pieces[0], pieces[1])}")
            ties += found
        known = vocabulary.unk not in ours  # SentencePiece writes another sign for <unk>
        if known and tokenizer.decode(ours) != vocabulary.decode(ours):
            raise InputError(f"tokenizer.json would decode the ids of {text[:40]!r} to another text")
    say(f"tokenizer.json: the same ids as SentencePiece on {tokens:,} tokens, but for {ties} ties of scores")


PLAIN = (
    "A sentence, and (12 or 345) more.",
    "two  spaces,\ta tab\nand a line",
    "\ufb01ve \u2460 na\u00efve \u65e5\u672c\u8a9e",
)
"""Texts that any two tokenizers of one model agree on."""


def compare_files(vocabulary: Vocabulary, say: Say) -> None:
    """Say where a published folder's tokenizer.json gives other ids than its SentencePiece model."""
    read = next(iter(vocabulary.files), TOKENIZER_JSON)  # what makes the ids is the first of them
    if read == TOKENIZER_JSON or TOKENIZER_JSON not in vocabulary.files or find_spec("tokenizers") is None:
        return
    tokenizer = open_tokenizer(Path(TOKENIZER_JSON), json.loads(vocabulary.files[TOKENIZER_JSON]))
    for text in PLAIN:
        if vocabulary.encode(text) != tokenizer.encode(text, add_special_tokens=False).ids:
            say(
                f"{TOKENIZER_JSON} gives {text!r} other ids than {read}, which is read here: "
                "transformers reads the former, and its scores will be others"
            )
            return


def count_ties(ours: list[str], theirs: list[str], scores: dict[str, float]) -> int | None:
    """In how many places two ways to cut a text differ; None where one differs by more than rounding.

    With scores -1 for each of a, b, ab, ba the cuts `a ba` and `ab a` tie: 1.
    """
    if "".join(ours) != "".join(theirs):
        return None
    total, ties = 0.0, 0
    for pair in stretches(ours, theirs):
        one, other = (sum(scores.get(piece, 0.0) for piece in pieces) for pieces in pair)
        total += abs(one)
        if pair[0] != pair[1]:
            if not scores or abs(one - other) > ROUNDING * total:
                return None
            ties += 1
    return ties


def stretches(ours: list[str], theirs: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """The pieces of both sides between places at which both cut the same text."""
    rest, ahead = iter(theirs), 0
    pair: tuple[list[str], list[str]] = ([], [])
    for piece in ours:
        pair[0].append(piece)
        ahead += len(piece)
        while ahead > 0:
            pair[1].append(next(rest))
            ahead -= len(pair[1][-1])
        if ahead == 0:
            yield pair
            pair = ([], [])


def _excerpt(ours: list[str], theirs: list[str]) -> str:
    place = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), 0)
    begin = max(place - 2, 0)
    return f"SentencePiece has {ours[begin : place + 4]}, it {theirs[begin : place + 4]}"
