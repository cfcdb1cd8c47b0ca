"""The library tokenizers, which panics where others raise: whatever goes wrong in it is one `InputError`."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_prep.contract.aside import held_back
from data_prep.contract.names import printable
from data_prep.contract.roles import TOKENIZER_JSON, Added
from data_prep.contract.settings import InputError

GROWTH = 64.0
"""How many times longer a normalizer may make a text; published ones stay below 4."""


@contextmanager
def library_errors(path: Path) -> Iterator[None]:
    """`InputError` for whatever the library raises, be it a panic: no `Exception`, and printed by itself."""
    try:
        with held_back():
            yield
    except InputError:
        raise
    except BaseException as error:  # the library raises no narrower one
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        problem = printable(" ".join(str(error).split()))[:200]
        raise InputError(f"{path}: the library tokenizers fails with this tokenizer ({problem})") from None


def open_tokenizer(path: Path, parsed: Any, added: Sequence[Added] = ()) -> Any:
    """A parsed tokenizer.json in the hands of the library tokenizers; it finds no special token in a text."""
    try:
        from tokenizers import AddedToken, Tokenizer
    except ImportError:
        raise InputError(
            f"{path}: a {TOKENIZER_JSON} is read by the library tokenizers, which is not installed; "
            "pip install 'bloomery[export]'"
        ) from None
    if not isinstance(parsed, dict):
        raise InputError(f"{path}: not a {TOKENIZER_JSON} (a JSON object is expected)")
    for rules in ("normalizer", "decoder"):
        check_growth(path, parsed.get(rules))
    text = json.dumps(parsed)
    try:
        with library_errors(path):
            tokenizer = Tokenizer.from_str(text)
    except InputError as error:
        raise InputError(f"{path}: not a {TOKENIZER_JSON} ({error})") from None
    with library_errors(path):
        for one in added:
            tokenizer.add_tokens([AddedToken(one.content, special=one.special, normalized=not one.special)])
            if tokenizer.token_to_id(one.content) != one.id:
                raise InputError(
                    f"{path}: the added token {one.content!r} gets the id "
                    f"{tokenizer.token_to_id(one.content)} and not {one.id}"
                )
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
    return tokenizer


def check_growth(path: Path, normalizer: Any) -> None:
    """`InputError` where the rules of a normalizer or decoder together make a text very much longer."""
    factor = 1.0
    for rule in _rules(normalizer):
        pattern, content = rule.get("pattern"), rule.get("content")
        if rule.get("type") != "Replace" or not isinstance(content, str):
            continue
        known = pattern.get("String") if isinstance(pattern, dict) else None
        length = len(known) if isinstance(known, str) and known else 1
        factor *= max(1.0, len(content) / length)
    if factor > GROWTH:
        raise InputError(
            f"{path}: its rules make a text up to {factor:.3g} times longer, where {GROWTH:.0f} is the limit"
        )


def _rules(normalizer: Any) -> list[dict[str, Any]]:
    if not isinstance(normalizer, dict):
        return []
    inner = normalizer.get("normalizers", normalizer.get("decoders"))
    if normalizer.get("type") == "Sequence" and isinstance(inner, list):
        return [rule for one in inner for rule in _rules(one)]
    return [normalizer]
