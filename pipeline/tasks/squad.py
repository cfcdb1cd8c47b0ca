"""SQuAD's rules for answers that are texts (Rajpurkar et al. 2016): what counts as equal, F1 of words."""

import re
import string
from collections import Counter

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")


def normalised(text: str) -> str:
    """Lower case, without punctuation, articles and needless spaces.

    >>> normalised("An  apple, a day")
    'apple day'
    """
    return " ".join(ARTICLES.sub(" ", PUNCTUATION.sub("", text.lower())).split())


def word_f1(said: str, wanted: str) -> float:
    """F1 of the words of two texts, each as often as it is there.

    >>> word_f1("the red car", "a red bus")
    0.5
    """
    ours, theirs = normalised(said).split(), normalised(wanted).split()
    if not ours or not theirs:
        return float(ours == theirs)
    same = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * same / (len(ours) + len(theirs))
