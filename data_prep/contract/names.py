"""Strings from outside on their way to a path, a terminal or a record.

plain_name          a name that becomes a path below a folder of ours
printable, one_line a text that reaches a terminal
printable_json      a value that reaches one as JSON
without_password    an address that is written down
shown               a name or address that is both
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from data_prep.contract.settings import InputError

LONGEST_PART, LONGEST_NAME = 255, 1_000
"""Bytes of a file's name that file systems take, and of a whole one that nothing of ours comes near."""

_CONTROL = (
    r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    r"\U000e0000-\U000e007f"
)
"""C0 and C1 with ESC, line separators, bidirectional marks, overrides and isolates, halves of surrogate
pairs, and the letters of tags, which nobody sees."""
_NOT_IN_NAMES = re.compile(f"[{_CONTROL}\\\\]")
_NOT_PRINTED = re.compile(f"(?![\n\t])[{_CONTROL}]")

_PASSWORD = re.compile(r"(?<=://)([^\s/?#:@\[]*):[^\s/?#]*@")
_WITH_SLASH = re.compile(r"(?<=://)([^\s/?#:@\[]*):(?!\d*[/?#])(?:[^\s@:]|:(?!//)){0,500}@")
"""A password that should have been quoted: without it, what follows the colon would be no port."""
_WITH_BLANK = re.compile(
    r"(?<=://)([^\s/?#:@\[]*):(?!\d*[/?#\s])(?!\s)(?:[^\n\t@:'\"]|:(?!//)){0,200}@(?=[\w\[])"
)
"""One with blanks, as people write them."""
_ONLY_TOKEN = re.compile(r"((?:https?|ftps?|s3[an]?|gs)://)[^\s/?#:@\[]+@")
_BARE = re.compile(r"(?:(?<=//)|(?<=\\\\)|(?<![\w.~%+/\\-]))([\w.~%+-]{1,64}):[^\s/@:'\"]{1,500}@(?=[\w\[])")
"""What proxies are given as, and what is left of an address whose slashes are missing: `joe:secret@host`."""
_SECRET = (
    r"[\w.-]{0,40}(?:sig|signature|token|secret|passw(?:or)?d|passphrase|pwd|credentials?|key|keyid|auth|"
    r"authorization|sessionid|sessid)|(?:[\w.-]{0,40}[._-])?(?:sid|pass|session|jwt|bearer|code|policy|key-pair-id)"
)
_PARAMETER = re.compile(
    rf"((?:[?&;#]|%(?:3f|26|3b|23))(?:{_SECRET})(?:\[\]|%5b%5d)?(?:=|%3d)['\"]?)"
    r"(?:(?!%26|%3b)[^\s&;#'\"])+",
    re.IGNORECASE,
)
"""What signs or opens an address in its query or behind its #: signed URLs of S3, GCS and Azure, tokens of
interfaces; also where the address is itself quoted in the query of another."""
_QUOTED_NAME = re.compile(r"(?<=[?&;#])([^\s&;#=]{0,80}%[^\s&;#=]{1,80})=[^\s&;#'\"]+")
"""A parameter whose name is itself quoted: `to%6Ben`."""
_HEADER = re.compile(
    r"((?:authorization|cookie)['\"]?\s{0,3}[:=]\s{0,3}b?['\"]?)[^\s'\",][^'\"\n]*", re.IGNORECASE
)
"""A header of a request, as libraries put it into what they say went wrong."""


def plain_name(name: object, where: str | Path) -> str:
    """The name itself, if it is a plain relative one: `train`, `train/shard-00000.tar`.

    `InputError` where it is no string, absolute, empty in any part, has a part `.` or `..` or one that begins
    with a dash or a tilde, a backslash or a control character, or is too long. `where` is what holds it;
    empty where the caller says that.
    """
    problem = _problem(name)
    if problem:
        shown = printable(repr(name)[:100])
        holder = f"{printable(str(where))}: " if where else ""
        raise InputError(f"{holder}{shown} is no plain relative name ({problem})")
    return str(name)


def _problem(name: object) -> str:
    if not isinstance(name, str):
        return "a string is expected"
    if _NOT_IN_NAMES.search(name):
        return "it has a control character or a backslash"
    parts = name.split("/")
    if name.startswith("/"):
        return "it is absolute"
    if any(part in ("", ".", "..") for part in parts):
        return "it has an empty part, . or .."
    if any(part.startswith(("-", "~")) for part in parts):
        return "a part begins with a dash or a tilde"
    if len(name.encode()) > LONGEST_NAME or any(len(part.encode()) > LONGEST_PART for part in parts):
        return "it is too long"
    return ""


def printable(text: str) -> str:
    """The text with what moves a terminal's cursor or turns its letters around made visible: `\\x1b`.

    Line breaks and tabs stay.
    """
    return _NOT_PRINTED.sub(lambda found: repr(found[0])[1:-1], text)


def printable_json(value: Any) -> str:
    """A value as a line of JSON in which the same is escaped, and other letters are as they are."""
    text = json.dumps(value, ensure_ascii=False)
    return _NOT_PRINTED.sub(lambda found: json.dumps(found[0])[1:-1], text)


def one_line(text: str) -> str:
    """The same with line breaks made visible too: what is told of a path stays one line."""
    return printable(text).rstrip("\n").replace("\n", "\\n")


def without_password(text: str) -> str:
    """The text with the secrets of every address in it replaced: `https://joe:***@host/a?sig=***`.

    An address of the web or of a bucket that names a user alone loses that, as tokens are given so.
    """
    for password in (_PASSWORD, _WITH_SLASH, _WITH_BLANK):
        text = password.sub(r"\1:***@", text)
    text = _BARE.sub(r"\1:***@", _ONLY_TOKEN.sub(r"\1***@", text))
    text = _QUOTED_NAME.sub(_without_value, _PARAMETER.sub(r"\1***", text))
    return _HEADER.sub(r"\1***", text)


def _without_value(found: re.Match[str]) -> str:
    secret = _PARAMETER.fullmatch(f"?{unquote(found[1])}=x")
    return f"{found[1]}=***" if secret else found[0]


def shown(text: str) -> str:
    """A name or address from outside as it may be told and written down."""
    return printable(without_password(text))


def without_passwords(plain: Any) -> Any:
    """Plain values (mappings, lists, strings) with the secrets of every address in them replaced."""
    if isinstance(plain, str):
        return without_password(plain)
    if isinstance(plain, Mapping):
        return {key: without_passwords(value) for key, value in plain.items()}
    return [*map(without_passwords, plain)] if isinstance(plain, list | tuple) else plain
