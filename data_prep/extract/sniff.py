"""Which encoding bytes are in, by the evidence that there is: mark, server, page, looks.

The order is that of the HTML Standard (13.2.3.2) and of the Encoding Standard: a byte order mark, what the
server said, what the page says of itself in its first 1,024 bytes, then a guess. What was said is kept though
some bytes do not fit: a decoder replaces them.
"""

import re
from collections.abc import Iterator

from resiliparse.parse.encoding import detect_encoding

from data_prep.cleaning import REPLACED
from data_prep.contract.utf8 import mark_of
from data_prep.extract.encodings import SINGLE_BYTE, decode
from data_prep.extract.labels import name_of
from data_prep.extract.unlikely import likelier

PRESCAN = 1024
SAMPLE = 1 << 20
"""Bytes of a file of text that a guess is made by."""
FEW = 2
"""Broken characters that are no reason to doubt what an encoding is said to be."""

ESCAPES = b"\x1b$"
"""Begins two-byte characters in ISO-2022-JP and its like, whose bytes are all valid UTF-8."""
ASCII = bytes(range(128))
DETECTED = {
    "cp949": "euc-kr",
    "uhc": "euc-kr",
    "iso2022-jp": "iso-2022-jp",
    "mac-cyrillic": "x-mac-cyrillic",
    "cp852": "ibm852",
    "cp855": "ibm855",
    "cp865": "ibm865",
    "mac-latin2": "mac-centraleurope",
}
"""What detection calls encodings that is no label of the standard; it gives the names of Python's codecs."""

_SPACE = rb"[\t\n\f\r ]"
_TAG = re.compile(
    rb"<!-->|<!--.*?(?:-->|$)|<meta(?=[\t\n\f\r /])|</?[a-z]|<[!/?][^>]*>", re.IGNORECASE | re.DOTALL
)
_ATTRIBUTE = re.compile(
    rb"[\t\n\f\r /]*([^\t\n\f\r />][^\t\n\f\r />=]*)"
    rb"(?:" + _SPACE + rb"*=" + _SPACE + rb"*(?:\"([^\"]*)\"|'([^']*)'|([^\t\n\f\r >]*)))?"
)
_CHARSET = re.compile(
    rb"charset" + _SPACE + rb"*=" + _SPACE + rb"*(?:\"([^\"]*)\"|'([^']*)'|([^\t\n\f\r ;\"']+))",
    re.IGNORECASE,
)
_XML = re.compile(
    rb"<\?xml[\t\n\f\r ][^>]*?encoding" + _SPACE + rb"*=" + _SPACE + rb"*(?:\"([^\"]*)\"|'([^']*)')"
)
_PARAMETER = re.compile(r";\s*([\w-]+)\s*=\s*(?:\"([^\"]*)\"?|([^\s;,\"]*))")


def charset_of(content_type: str) -> str:
    """The label that a Content-Type header names; empty where it names none."""
    for name, quoted, plain in _PARAMETER.findall(content_type):
        if name.lower() == "charset":
            return str(quoted or plain)
    return ""


def decode_page(content: bytes, charset: str = "") -> str:
    """A page of HTML as text; `charset` is the label that its server gave.

    Where what server or page say makes more than a few characters unreadable, and most of those beyond ASCII,
    a guess is made after all.
    """
    encoding, length = mark_of(content)
    if encoding:
        return decode(content[length:], encoding)
    said = _said(content, charset)
    if not said:
        return decode(content, detected(content))
    text = decode(content, said)
    return decode(content, detected(content)) if doubtful(text) else text


def doubtful(text: str) -> bool:
    """Whether what a text was decoded as is plainly wrong: most characters beyond ASCII are unreadable."""
    bad = text.count(REPLACED)
    return bad > FEW and bad * 2 > len(text) - len(text.encode("ascii", "ignore"))


def _said(content: bytes, charset: str) -> str:
    name = name_of(charset)
    if name.startswith("utf-16") and b"\0" not in content[:PRESCAN]:
        name = ""  # no markup is without ASCII
    return name or declared(content[:PRESCAN])


def declared(start: bytes) -> str:
    """The encoding that the first bytes of a page name; empty where they name none.

    The standard's prescan: `meta charset`, `meta http-equiv` with a content, then an XML declaration.
    """
    if start.startswith((b"<\0?\0x\0", b"\0<\0?\0x")):
        return "utf-16le" if start.startswith(b"<\0") else "utf-16be"
    label = next((label for label in _meta_labels(start) if name_of(label)), "")
    if not label and start.startswith(b"<?xml"):
        found = _XML.match(start)
        label = (found[1] or found[2] or b"").decode("ascii", "replace") if found else ""
    name = name_of(label)
    # What has been read so far is ASCII: it cannot be what these say.
    return {"utf-16le": "utf-8", "utf-16be": "utf-8", "x-user-defined": "windows-1252"}.get(name, name)


def _meta_labels(start: bytes) -> Iterator[str]:
    place = 0
    while found := _TAG.search(start, place):
        place = found.end()
        if not found[0].startswith((b"<!", b"<?")):
            attributes: dict[bytes, bytes] = {}
            while one := _ATTRIBUTE.match(start, place):
                place = one.end()
                attributes.setdefault(one[1].lower(), one[2] or one[3] or one[4] or b"")
            if found[0].lower() == b"<meta":
                yield _label(attributes)


def _label(attributes: dict[bytes, bytes]) -> str:
    label = attributes.get(b"charset", b"")
    if not label and attributes.get(b"http-equiv", b"").lower() == b"content-type":
        found = _CHARSET.search(attributes.get(b"content", b""))
        label = (found[1] or found[2] or found[3] or b"") if found else b""
    return label.decode("ascii", "replace")


def detected(content: bytes) -> str:
    """The encoding that bytes look like; UTF-8 where they look like none.

    UTF-8 with a few errors is UTF-8: other encodings do not come near it by chance.
    """
    wide = _wide(content)
    if wide:
        return wide
    if ESCAPES not in content and _looks_like_utf8(content):
        return "utf-8"
    found = (detect_encoding(content, html5_compatible=False) or "").lower().replace("_", "-")
    name = DETECTED.get(found) or name_of(found)
    name = name if name and name != "replacement" else "utf-8"
    return likelier(content, name) if name == "utf-8" or name in SINGLE_BYTE else name


def _looks_like_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":  # cut inside its last character
            return True
        text = content.decode("utf-8", "replace")
        beyond = len(text) - len(content) + len(content.translate(None, ASCII))
        bad = text.count(REPLACED)
        return bad * 2 < beyond - bad
    return True


def _wide(content: bytes) -> str:
    """UTF-16 by its zero bytes: many of one byte's place in a pair, none of the other's."""
    first, second = content[0::2].count(0), content[1::2].count(0)
    many = len(content) // 40
    if first == 0 and second > many:
        return "utf-16le"
    return "utf-16be" if second == 0 and first > many else ""
