"""The C4 filter (Raffel et al. 2020; the code that made the dataset is TFDS's `c4_utils.py`).

It works line by line and rewrites the text: what comes after it sees the lines that stay.
"""

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from data_prep.filters import language
from data_prep.filters.phrases import Phrases, read_list
from data_prep.filters.sentences import ends_in_own_script, sentences
from data_prep.filters.settings import C4Filter, FilterConfig
from data_prep.filters.words import separated

END_MARKS, ELLIPSIS = (".", "?", "!", '"'), "..."
"""Those of the paper, which is about English; `sentences` knows how other scripts end a sentence."""
POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_REFERENCES = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")


PAGE_RULES = {"max_lorem_ipsum", "max_curly_brackets", "min_sentences", "max_bad_words", "bad_words"}


def line_settings(config: FilterConfig) -> dict[str, Any] | None:
    """What rewrites texts, by language where that differs; None where the filter is not used."""
    if "c4" not in config.use:
        return None
    found = {
        code: config.of_language(code).c4.model_dump(mode="json", exclude=PAGE_RULES)
        for code in ("", *config.by_language)
    }
    return {code: rules for code, rules in found.items() if not code or rules != found[""]}


class Lines:
    """The rules for lines, from `line_settings`."""

    def __init__(self, settings: Mapping[str, Any], bad_words: Path | None = None) -> None:
        self.rules = {code: C4Filter(**rules, bad_words=bad_words) for code, rules in settings.items()}

    def clean(self, text: str) -> tuple[str, dict[str, float]]:
        """`clean_lines` by the rules for the text's language."""
        code = language.detect(text)[0] if len(self.rules) > 1 else ""
        return clean_lines(text, self.rules.get(code, self.rules[""]))


def clean_lines(text: str, config: C4Filter) -> tuple[str, dict[str, float]]:
    """The text of the lines that stay, and the values that the page rules look at."""
    counts: Counter[str] = Counter()
    kept = []
    for raw, words in zip(text.split("\n"), separated(text).split("\n"), strict=True):
        line = _line(raw.strip(), words, config)
        if line is None:
            continue
        lower = line.lower()
        counts["lorem ipsum"] += "lorem ipsum" in lower
        if config.javascript_lines and "javascript" in lower:
            continue
        counts["curly"] += "{" in line
        if not (config.policy_lines and any(phrase in lower for phrase in POLICIES)):
            kept.append(line)
    result = "\n".join(kept).strip()
    return result, {
        "c4_lines_dropped": text.count("\n") + 1 - len(kept),
        "c4_lorem_ipsum": counts["lorem ipsum"],
        "c4_curly_brackets": counts["curly"],
        "c4_bad_words": bad_words(config.bad_words).count(result) if config.bad_words else 0,
        "c4_sentences": sum(map(sentences, kept)),
    }


def _line(line: str, words: str, config: C4Filter) -> str | None:
    """The line without references; None where its form makes it go. In `words` spaces are between its
    words."""
    longest = config.max_word_characters
    if len(line) > longest and max(map(len, words.split()), default=0) > longest:
        return None
    if config.references:
        line, words = _REFERENCES.sub("", line), _REFERENCES.sub("", words)
    if config.terminal_punctuation and not _ends_well(line):
        return None
    return line if len(words.split()) >= config.min_line_words else None


def _ends_well(line: str) -> bool:
    return (line.endswith(END_MARKS) and not line.endswith(ELLIPSIS)) or ends_in_own_script(line)


@cache
def bad_words(path: Path) -> Phrases:
    """The words and phrases of a file."""
    return Phrases(read_list(path))
