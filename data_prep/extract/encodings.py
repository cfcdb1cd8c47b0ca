"""Bytes to text as browsers do it: the decoders of the WHATWG Encoding Standard, over Python's codecs.

The two differ in some characters of most encodings, and in what broken bytes become: in a browser one U+FFFD,
and the text behind it is read on from where its characters begin.
"""

import codecs
import re
from collections.abc import Callable, Container
from functools import cache

UNICODE = {
    "utf-8": "utf-8",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "utf-32le": "utf-32-le",
    "utf-32be": "utf-32-be",
}
MULTI_BYTE = {
    "gbk": "gb18030",
    "gb18030": "gb18030",
    "big5": "big5hkscs",
    "euc-jp": "euc_jp",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
}
SINGLE_BYTE = (
    {f"iso-8859-{n}": f"iso8859_{n}" for n in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)}
    | {f"windows-{n}": f"cp{n}" for n in (874, *range(1250, 1259))}
    | {"ibm866": "cp866", "koi8-r": "koi8_r", "koi8-u": "koi8_u", "macintosh": "mac_roman"}
    | {"iso-8859-8-i": "iso8859_8", "x-mac-cyrillic": "mac_cyrillic"}
    | {f"ibm{n}": f"cp{n}" for n in (737, 850, 852, 855, 857, 862, 865, 869)}
    | {"mac-centraleurope": "mac_latin2", "mac-greek": "mac_greek", "mac-turkish": "mac_turkish"}
)
"""The last two lines' are not in the standard: old texts are in them, and detection finds them."""

OTHERWISE = {("koi8-u", 0xAE): "\u045e", ("koi8-u", 0xBE): "\u040e", ("windows-1255", 0xCA): "\u05ba"}
"""Single bytes that Python reads as something else, or not at all."""

TRANSLATED = {
    "gb18030": str.maketrans(
        "\ue5e5\ue78d\ue78e\ue78f\ue790\ue791\ue792\ue793\ue794\ue795\ue796\ue7c7"
        "\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864",
        "\u3000\ufe10\ufe12\ufe11\ufe13\ufe14\ufe15\ufe16\ufe17\ufe18\ufe19\u1e3f"
        "\u9fb4\u9fb5\u9fb6\u9fb7\u9fb8\u9fb9\u9fba\u9fbb",
    ),
    "euc-jp": str.maketrans("\u301c\u2016\u2212\xa2\xa3\xac", "\uff5e\u2225\uff0d\uffe0\uffe1\uffe2"),
    "shift_jis": str.maketrans("\uf8f0\uf8f1\uf8f2\uf8f3", "\ufffd" * 4),
    "big5": str.maketrans(
        "\u2022\uff64\u203e\u223c\u2641\u2609\xa5\xa2\xa3",
        "\u2027\ufe51\xaf\uff5e\u2295\u2299\uffe5\uffe0\uffe1",
    ),
}
TRANSLATED["gbk"] = TRANSLATED["gb18030"]
"""Characters of Python's codecs that the standard's indexes have others for."""

BIG5_RUNS = {
    1000: "㡵𡵓𣚞𦀡㻬𥣞㫵竼龗𤅡𨤍𣇪𠪊𣉞䌊蒄龖鐯䤰蘓墖靊鈘秐稲晠権袝瑌篅枂稬剏遆㓦珄𥶹瓆鿇垳䤯呌䄱𣚎堘穲𧭥讏䚮"
    "𦺈䆁𥶙箮𢒼鿈𢓁𢓉𢓌鿉蔄𣖻䂴鿊䓡𪷿拁灮鿋",
    2303: "覦覩", 2746: "兙兛兝兞", 4329: "尐秣",
    5432: "␀␁␂␃␄␅␆␇␈␉␊␋␌␍␎␏␐␑␒␓␔␕␖␗␘␙␚␛␜␝␞␟␡€", 10957: "〃仝", 19553: "沜渝",
}  # fmt: skip
BIG5_SINGLE = dict(
    zip(
        (2082, 2088, 2103, 2114, 2123, 2148, 2151, 2221, 2239, 2244, 2354, 2400, 2413, 2477, 2498, 2605, 2673,
         2771, 2780, 2990, 3087, 3259, 3301, 3436, 3451, 4136, 4138, 4141, 4182, 4206, 4220, 4230, 4241, 4258,
         4273, 4279, 4282, 4294, 4349, 4419, 4422, 4494, 4624, 4694, 4708, 4742, 4748, 4815, 4828, 4902, 4922,
         4982, 4992, 4997, 10942, 10946, 10948, 10950, 19028, 19035, 19088, 19096, 19112, 19162, 19240, 19299,
         19305, 19326, 19355, 19398, 19439, 19454, 19557, 19611, 19643, 19672, 19697, 19748),
        "箸簆糎緒縝者耨菁蒨萏起都銹靜響鼖蔃鍮瑹浧禛邗靝瀞嬨爁矗纇駖釔惞澶輶侻營鄄鷰菏婧輋筑拐恢痹汊鬮鼗僭弌蠏拎"
        "瑨煢牐廴无癶隶倩偽包卄卿嘅婷幵廐彘悤撐晴杞港煮猪瑜瓩砉",
        strict=True,
    )
)  # fmt: skip
BIG5 = BIG5_SINGLE | {start + n: sign for start, run in BIG5_RUNS.items() for n, sign in enumerate(run)}
"""By their pointers: HKSCS-2008's characters and others of the standard's index that big5hkscs lacks."""

ESCAPE = re.compile(rb"\x1b(\([BJI]|\$[@B])")
HIGH = bytes(byte + 0x80 if 0x21 <= byte <= 0x7E else byte for byte in range(256))
KATAKANA = bytes(byte + 0x80 if 0x21 <= byte <= 0x5F else byte for byte in range(256))


def decode(content: bytes, name: str) -> str:
    """The text of bytes in the encoding of this name, one of `labels` or a few more. No mark is looked for.

    Every byte that has no meaning becomes U+FFFD; raises nothing.
    """
    if name in UNICODE:
        return content.decode(UNICODE[name], "replace")
    if name in SINGLE_BYTE:
        return codecs.charmap_decode(content, "replace", _table(name))[0]
    if name in MULTI_BYTE:
        text = content.decode(MULTI_BYTE[name], HANDLERS[name])
        return text.translate(TRANSLATED[name]) if name in TRANSLATED and not text.isascii() else text
    if name == "iso-2022-jp":
        return _iso_2022_jp(content)
    if name == "x-user-defined":
        return codecs.charmap_decode(content, "replace", _ASCII + "".join(map(chr, range(0xF780, 0xF800))))[0]
    assert name == "replacement", name
    return "\ufffd" if content else ""


_ASCII = "".join(map(chr, range(128)))


@cache
def _table(name: str) -> str:
    """The 256 characters of a single-byte encoding."""
    return _ASCII + "".join(_character(name, byte) for byte in range(128, 256))


def _character(name: str, byte: int) -> str:
    known = OTHERWISE.get((name, byte)) or bytes([byte]).decode(SINGLE_BYTE[name], "replace")
    # What the windows code pages leave out between 0x80 and 0x9F is a control character in the standard.
    return chr(byte) if known == "\ufffd" and byte < 0xA0 and name.startswith("windows-") else known


def _iso_2022_jp(content: bytes) -> str:
    first, *rest = ESCAPE.split(content)
    pieces = [first.decode("ascii", "replace")]
    for escape, piece in zip(rest[::2], rest[1::2], strict=True):
        if escape.startswith(b"$"):
            pieces.append(decode(piece.translate(HIGH), "euc-jp"))
        elif escape == b"(I":
            pieces.append(decode(piece.translate(KATAKANA), "shift_jis"))
        else:
            text = piece.decode("ascii", "replace")
            pieces.append(text.translate({0x5C: "¥", 0x7E: "‾"}) if escape == b"(J" else text)
    return "".join(pieces)


def _big5(lead: int, trail: int) -> str:
    return (
        BIG5.get((lead - 0x81) * 157 + trail - (0x40 if trail < 0x7F else 0x62), "") if trail >= 0x40 else ""
    )


def _euc_jp(lead: int, trail: int) -> str:
    """NEC's and IBM's characters: the same row and cell as in Shift_JIS, where Python has them."""
    if not (0xA1 <= lead <= 0xFE and 0xA1 <= trail <= 0xFE):
        return ""
    row, cell = lead - 0xA1, trail - 0xA1
    shifted = row // 2 + (0x81 if row < 62 else 0xC1)
    place = cell + 94 * (row % 2)
    found = bytes([shifted, place + (0x40 if place < 0x3F else 0x41)]).decode("cp932", "replace")
    return found if len(found) == 1 and found != "\ufffd" and not "\ue000" <= found <= "\uf8ff" else ""


def _none(lead: int, trail: int) -> str:
    return ""


Handler = Callable[[UnicodeError], tuple[str, int]]


def _handler(more: Callable[[int, int], str], single: dict[int, str], leads: Container[int]) -> Handler:
    """What Python asks about bytes that it cannot read: `more` knows pairs, `single` bytes."""

    def handle(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeDecodeError)
        lead, trail = error.object[error.start], error.object[error.start + 1 : error.start + 2]
        if lead in single:
            return single[lead], error.start + 1
        if not trail:
            return "\ufffd", error.start + 1
        found = more(lead, trail[0])  # ASCII behind a lead byte that it does not fit is text again
        both = found or (lead in leads and trail[0] >= 0x80)
        return found or "\ufffd", error.start + (2 if both else 1)

    return handle


_MORE = {"big5": _big5, "euc-jp": _euc_jp}
_SINGLE = {"gbk": {0x80: "€"}, "gb18030": {0x80: "€"}}
_LEADS = {"euc-jp": {0x8E, 0x8F, *range(0xA1, 0xFF)}}
HANDLERS = {name: f"bloomery-{name}" for name in MULTI_BYTE}
for _name, _handler_name in HANDLERS.items():
    codecs.register_error(
        _handler_name,
        _handler(_MORE.get(_name, _none), _SINGLE.get(_name, {}), _LEADS.get(_name, range(0x81, 0xFF))),
    )
