"""From a generated text to the answer in it, and whether two answers are the same."""

import re
import string

from pipeline.evaluation.tasks.patterns import matches, replaced
from pipeline.evaluation.tasks.settings import Extract

NOT_FOUND = "[invalid]"
"""What a text without an answer counts as, as in lm-evaluation-harness."""
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def extracted(text: str, how: Extract) -> str:
    """The answer in a text; `NOT_FOUND` where the pattern is not there.

    >>> extracted("So 3 + 4 = 7. The answer is 7.", Extract(after="The answer is", pattern="-?[0-9]+"))
    '7'
    """
    if how.after and how.after in text:
        text = text.rpartition(how.after)[2]
    if how.pattern:
        found = [_group(match) for match in matches(how.pattern, text)]
        if not found:
            return NOT_FOUND
        text = found[0 if how.take == "first" else -1]
    return text.strip() if how.strip else text


def same(answer: str, references: tuple[str, ...], how: Extract) -> bool:
    """Whether an answer is one of the references, by what the task leaves out of the comparison."""
    return bare(answer, how) in {bare(one, how) for one in references}


def bare(text: str, how: Extract) -> str:
    """A text without what does not count."""
    for pattern in how.remove:
        text = replaced(pattern, "", text)
    text = text.lower() if how.ignore_case else text
    text = text.translate(_NO_PUNCTUATION) if how.ignore_punctuation else text
    return text.strip() if how.strip else text


def _group(match: "re.Match[str]") -> str:
    """The first group that matched, or the whole."""
    groups = [one for one in match.groups() if one]
    return groups[0] if groups else match[0]
