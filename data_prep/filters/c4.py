"""The C4 filter (Raffel et al. 2020; the code that made the dataset is TFDS's `c4_utils.py`).

It works line by line and rewrites the text: what comes after it sees the lines that stay.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from data_prep.filters.settings import C4Filter

END_MARKS, ELLIPSIS = (".", "?", "!", '"'), "..."
POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_REFERENCES = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_SENTENCE_END = re.compile(r"""[.!?]+["'\u201d\u2019)\]]*(?=\s|$)""")


def clean_lines(text: str, config: C4Filter) -> tuple[str, dict[str, float]]:
    """The text of the lines that stay, and the values that the page rules look at."""
    counts: Counter[str] = Counter()
    kept = []
    for raw in text.split("\n"):
        line = _line(raw.strip(), config)
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
        "c4_bad_words": len(bad_words(config.bad_words).findall(result.lower())) if config.bad_words else 0,
        "c4_sentences": sum(map(sentences, kept)),
    }


def _line(line: str, config: C4Filter) -> str | None:
    """The line without references; None where its form makes it go."""
    if len(line) > config.max_word_characters and max(map(len, line.split())) > config.max_word_characters:
        return None
    if config.references:
        line = _REFERENCES.sub("", line)
    if config.terminal_punctuation and (not line.endswith(END_MARKS) or line.endswith(ELLIPSIS)):
        return None
    return line if len(line.split()) >= config.min_line_words else None


def sentences(line: str) -> int:
    """Sentences in a line: ends of sentences, and one more where the line does not end with one."""
    ends = list(_SENTENCE_END.finditer(line))
    return len(ends) + (bool(line) and (not ends or ends[-1].end() < len(line)))


@cache
def bad_words(path: Path) -> re.Pattern[str]:
    """Any word or phrase of the file, standing alone."""
    phrases: Sequence[str] = [line.strip().lower() for line in path.read_text().splitlines() if line.strip()]
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, phrases)) + r")(?!\w)")
