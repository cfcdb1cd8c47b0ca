"""The shares of texts that the filters keep, language by language, beside datatrove's with its own
tokenizers.

    python -m tests.benchmarks.languages FOLDER [--languages 15] [--texts 100]

FOLDER holds texts in any languages: .txt (one each), .jsonl (a line each, under `text`), compressed or not.
Each counts for the language that lid.176 finds in it; those with most texts are shown. Every filter looks at
every text by itself with its usual settings. datatrove's column needs the extra `bench` and, for some
languages, the tokenizers that datatrove names; a language without is left empty. Its stop words, which are
English, are not asked for, nor C4's terminal punctuation, which it knows for Latin alone. The last line is
the least share that ours keeps of any language, over the share that it keeps of English."""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_prep.config import CorpusConfig
from data_prep.documents import Page, normalise
from data_prep.filters.language import detect
from data_prep.filters.rules import judge, rules
from data_prep.filters.tag import signaller, tag_settings
from data_prep.sources import read_file
from data_prep.sources.files import find_local

ENOUGH = 20
"""Texts of a language that counts for the last line."""
FILTERS = ("gopher_quality", "gopher_repetition", "c4", "fineweb")
_NAMES = (
    "am:amh_Ethi ar:arb_Arab bn:ben_Beng de:deu_Latn el:ell_Grek en:eng_Latn es:spa_Latn fa:fas_Arab "
    "fr:fra_Latn he:heb_Hebr hi:hin_Deva ja:jpn_Jpan km:khm_Khmr ko:kor_Hang lo:lao_Laoo ml:mal_Mlym "
    "my:mya_Mymr ro:ron_Latn ru:rus_Cyrl ta:tam_Taml th:tha_Thai tr:tur_Latn vi:vie_Latn zh:cmn_Hani"
)
CODES = dict(pair.split(":") for pair in _NAMES.split())
"""datatrove's names of languages that have a tokenizer of their own there."""


def texts_by_language(folder: Path, most: int) -> dict[str, list[str]]:
    """The texts of a folder, those of languages with most of them first."""
    found: dict[str, list[str]] = defaultdict(list)
    for kind, ending in (("text", ".txt"), ("jsonl", ".jsonl")):
        corpus = CorpusConfig.model_validate({"kind": kind, "paths": [str(folder)], "document_bytes": 5000})
        for file in find_local(str(folder), (ending,)):
            for page in read_file(file, corpus):
                if isinstance(page, Page) and isinstance(page.content, str):
                    text = normalise(page.content)
                    found[detect(text)[0]].append(text)
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    return {code: texts[:most] for code, texts in ordered}


def ours(name: str) -> Callable[[str], str]:
    """The rule by which our filter rejects a text, or nothing."""
    corpus = CorpusConfig.model_validate({"filters": {"use": [name]}, "dedup": {"near": {"enabled": False}}})
    signals, order = signaller(*tag_settings(corpus)), rules(corpus.filters, corpus.decontaminate)

    def verdict(text: str) -> str:
        kept, values = signals("", text)
        table = pa.table({key: [value] for key, value in (values | {"characters": len(kept)}).items()})
        [index], _ = judge(table, order, [])
        return order[index].name if index >= 0 else ""

    return verdict


def theirs(name: str, language: str) -> Callable[[str], str] | None:
    """datatrove's filter with its tokenizer of the language; None where it has none here."""
    try:
        from datatrove.data import Document
        from datatrove.pipeline import filters
        from datatrove.utils.word_tokenizers import load_word_tokenizer

        code = CODES[language]
        load_word_tokenizer(code).word_tokenize("a text")
    except (ImportError, KeyError, LookupError, OSError, ValueError):
        return None
    step: Any = {
        "gopher_quality": lambda: filters.GopherQualityFilter(language=code, min_stop_words=None),
        "gopher_repetition": lambda: filters.GopherRepetitionFilter(language=code),
        "c4": lambda: filters.C4QualityFilter(language=code, filter_no_terminal_punct=False),
        "fineweb": lambda: filters.FineWebQualityFilter(language=code),
    }[name]()

    def verdict(text: str) -> str:
        result = step.filter(Document(text=text, id=""))
        return "" if result is True else str(result[1])

    return verdict


def share(verdict: Callable[[str], str] | None, texts: Sequence[str]) -> tuple[str, float, Counter[str]]:
    """The share kept, as it is printed and as a number, and the reasons of the others."""
    if verdict is None:
        return "-", 0.0, Counter()
    reasons = Counter(map(verdict, texts))
    kept = reasons.pop("", 0) / len(texts)
    return f"{kept:.2f}", kept, reasons


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--languages", type=int, default=15)
    parser.add_argument("--texts", type=int, default=100)
    arguments = parser.parse_args()
    found = texts_by_language(arguments.folder, arguments.texts)
    if not found:
        sys.exit(f"{arguments.folder}: no .txt or .jsonl file with a text")
    shown = dict([*found.items()][: arguments.languages]) | ({"en": found["en"]} if "en" in found else {})
    print(f"{'':<4} {'texts':>6}  " + "  ".join(f"{name:^21}" for name in FILTERS))
    print(f"{'':<4} {'':>6}  " + "  ".join(f"{'ours':>10} {'datatrove':>10}" for _ in FILTERS))
    mine: dict[str, float] = {}
    for code, texts in shown.items():
        pairs = [(share(ours(name), texts), share(theirs(name, code), texts)) for name in FILTERS]
        print(f"{code:<4} {len(texts):>6}  " + "  ".join(f"{a[0]:>10} {b[0]:>10}" for a, b in pairs))
        reasons: Counter[str] = sum((one[2] for one, _ in pairs), Counter())
        if reasons:
            print("             " + ", ".join(f"{count} {name}" for name, count in reasons.most_common(4)))
        if len(texts) >= ENOUGH:
            mine[code] = min(one[1] for one, _ in pairs)
    least = min(mine.values(), default=0.0)
    print(f"languages ratio={least / (mine.get('en') or 1.0):.2f}")


if __name__ == "__main__":
    main()
