"""Texts from outside without what no tokenizer, table or terminal may be given. Light to import."""

import re

_UNWANTED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2060\ufeff\ufffe\uffff]|[\ud800-\udfff]")


def clean(text: str) -> str:
    """The text without halves of surrogate pairs, NUL and other controls; tabs and line breaks stay.

    >>> clean("an emoji cut in two: \\ud83d")
    'an emoji cut in two: '
    """
    return _UNWANTED.sub("", text)
