"""The signals of FineWeb's own filter (Penedo et al. 2024, section 3.6)."""

from data_prep.filters.gopher import duplicates
from data_prep.filters.sentences import ends_in_own_script
from data_prep.filters.words import Parsed

TERMINAL = tuple(".!?'\"\u201d\u2019\u00bb\u2026")
"""Full stops, question and exclamation marks and closing quotes; `sentences` has those of other scripts."""
SHORT_LINE = 30


def signals(parsed: Parsed) -> dict[str, float]:
    """The values that the rules look at; all are 0 for a text without words."""
    lines = [line for line in parsed.text.split("\n") if line.strip()]
    count = max(len(lines), 1)
    return {
        "fineweb_punctuated_lines": sum(line.endswith(TERMINAL) or ends_in_own_script(line) for line in lines)
        / count,
        "fineweb_short_lines": sum(len(line) <= SHORT_LINE for line in lines) / count,
        "fineweb_duplicate_line_characters": duplicates(lines)[1]
        / max(len(parsed.text.replace("\n", "")), 1),
        "fineweb_newline_ratio": parsed.text.count("\n") / max(len(parsed.words), 1),
    }
