"""The verdicts of the filters beside datatrove's, on the same documents with the same words and sentences.

    python -m tests.benchmarks.verdicts [--at-least 1]

Needs the extra `bench` and the real pages of ../shared/data. Every filter looks at every document by itself,
first as it is, then with the marks that datatrove takes for the end of a sentence, which explain the rest:
for C4 datatrove counts an apostrophe, as C4's code does not, and knows no marks of other scripts; for FineWeb
it knows neither closing quotes nor the ellipsis. The last line is the share of equal verdicts with equal
marks."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from data_prep.config import CorpusConfig
from data_prep.documents import normalise
from data_prep.extract.html import ExtractionError, extract
from data_prep.filters import c4, fineweb, gopher, sentences, words
from data_prep.filters.rules import judge, rules
from data_prep.filters.tag import signaller, tag_settings
from data_prep.sources import warc
from data_prep.sources.files import find_local
from tests.benchmarks.extraction import DATA

KEPT = "kept"
PAPER = {"min_line_words": 3, "min_sentences": 5}
C4_SETTINGS = {"c4": PAPER, "c4, FineWeb's": PAPER | {"terminal_punctuation": False}}


def texts_of_pages() -> list[str]:
    """What the quick extractor gives of every real page, in any language."""
    found = []
    for archive in find_local(str(DATA), (".warc",)).files:
        for page in warc.read(archive, 10_000_000):
            try:
                found.append(normalise(extract(page.content, page.charset, "resiliparse")))
            except (AttributeError, ExtractionError):
                continue
    return [text for text in found if text]


def ours(name: str) -> Callable[[str], str]:
    """The rule that rejects a text, or "kept"."""
    use = name.partition(",")[0]
    stop_words = sorted(gopher.STOP_WORDS)  # datatrove asks texts of any language for them
    filters = {"use": [use], "c4": C4_SETTINGS.get(name, {}), "gopher_quality": {"stop_words": stop_words}}
    corpus = CorpusConfig.model_validate({"filters": filters, "dedup": {"near": {"enabled": False}}})
    signals, order = signaller(*tag_settings(corpus)), rules(corpus.filters, corpus.decontaminate)

    def verdict(text: str) -> str:
        kept, values = signals("", text)
        table = pa.table({key: [value] for key, value in (values | {"characters": len(kept)}).items()})
        [index], _ = judge(table, order, [])
        return order[index].name if index >= 0 else KEPT

    return verdict


def theirs(name: str) -> Callable[[str], str]:
    """datatrove's, which takes words and sentences from us."""
    from datatrove.data import Document
    from datatrove.pipeline import filters
    from datatrove.pipeline.filters import (
        c4_filters,
        fineweb_quality_filter,
        gopher_quality_filter,
        gopher_repetition_filter,
    )

    for module in (fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter):
        module.split_into_words = lambda text, language="": words.words_of(text)
    c4_filters.split_into_sentences = lambda text, language="": [""] * sentences.sentences(text)
    step: Any = {
        "gopher_quality": filters.GopherQualityFilter,
        "gopher_repetition": filters.GopherRepetitionFilter,
        "c4": filters.C4QualityFilter,
        "c4, FineWeb's": lambda: filters.C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": filters.FineWebQualityFilter,
    }[name]()

    def verdict(text: str) -> str:
        result = step.filter(Document(text=text, id=""))
        return KEPT if result is True else str(result[1])

    return verdict


def their_marks() -> None:
    """From here on our filters know datatrove's ends of sentences."""
    from datatrove.pipeline.filters.c4_filters import END_PUNCTUATION
    from datatrove.utils.text import TERMINAL_PUNCTUATION

    c4.END_MARKS = END_PUNCTUATION
    fineweb.TERMINAL = tuple(TERMINAL_PUNCTUATION)
    c4.ends_in_own_script = fineweb.ends_in_own_script = lambda line: False
    c4.separated = str  # it counts the words of a line by spaces in every script


def compare(name: str, texts: Sequence[str]) -> int:
    """Print a row of the table and what differs; returns how many documents do."""
    one, other = ours(name), theirs(name)
    pairs = Counter((one(text), other(text)) for text in texts)
    differ = {pair: n for pair, n in pairs.items() if (pair[0] == KEPT) != (pair[1] == KEPT)}
    kept = [sum(n for pair, n in pairs.items() if pair[side] == KEPT) for side in (0, 1)]
    print(f"{name:<20} {kept[0]:>8,} {kept[1]:>10,} {sum(differ.values()):>8,}")
    for (mine, their), count in sorted(differ.items(), key=lambda item: -item[1]):
        print(f"    {count:>4}  ours: {mine:<30} datatrove: {their}")
    return sum(differ.values())


def table(title: str, texts: Sequence[str], names: Sequence[str]) -> float:
    """Compare every filter; returns the share of equal verdicts."""
    print(f"{title}\n{'filter':<20} {'kept':>8} {'datatrove':>10} {'differ':>8}")
    return 1 - sum(compare(name, texts) for name in names) / (len(texts) * len(names))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--at-least", type=float, default=0.0)
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA}: not on this machine")
    texts = texts_of_pages()
    names = ["gopher_quality", "gopher_repetition", *C4_SETTINGS, "fineweb"]
    table(f"{len(texts)} texts, the same words and sentences", texts, names)
    their_marks()
    ratio = table("the same ends of sentences too", texts, list(C4_SETTINGS) + names[-1:])
    print(f"verdicts ratio={ratio:.4f}")
    sys.exit(ratio < arguments.at_least)


if __name__ == "__main__":
    main()
