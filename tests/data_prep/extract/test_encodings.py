"""Bytes to text as browsers do it: labels, the order of evidence, what is broken."""

# ruff: noqa: RUF001

import pytest

from data_prep.extract.encodings import decode as decoded
from data_prep.extract.html import ExtractionError, decode
from data_prep.extract.labels import LABELS, name_of
from data_prep.extract.sniff import charset_of, declared, detected

RUSSIAN = "Наш город стоит на берегу широкой реки, и каждое утро рыбаки выходят на лодках. "
GERMAN = "Über die Brücke führt ein schöner Weg; die Straße ist größer geworden. "
FRENCH = "Où est passé le garçon de café ? Il a été très fâché, à bientôt donc, ma chère élève. "
POLISH = "Wszyscy ludzie rodzą się wolni i równi, są obdarzeni rozumem, łąką żółtą, źdźbłem i ćmą. "
TURKISH = "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar; akıl ve vicdana sahiptirler. "
GREEK = "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. "
HEBREW = "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם, כולם חוננו בתבונה ובמצפון. "


def test_there_is_every_label_of_the_standard() -> None:
    labels = [label for row in LABELS.values() for label in row.split()]
    assert len(LABELS) == 40
    assert len(labels) == len(set(labels)) == 228
    for name, row in LABELS.items():
        assert {name_of(f" \t{label.upper()}\n") for label in row.split()} == {name}
        if not name.startswith("utf-16"):
            assert decoded(b"a<b", name) == ("\ufffd" if name == "replacement" else "a<b")


@pytest.mark.parametrize(
    ("label", "content", "text"),
    [
        ("iso-8859-1", b"\x93\x80\x85\x94\x92\x81", "“€…”’\x81"),
        ("latin1", b"\x96", "–"),
        ("ascii", b"\x97", "—"),
        ("us-ascii", b"\xe9", "é"),
        ("iso-8859-9", b"\x80\xfd\x8e", "€ı\x8e"),
        ("tis-620", b"\x80\xa1\xdb", "€ก\ufffd"),
        ("iso-8859-11", b"\x85\xe0", "…เ"),
        ("iso-8859-8-i", b"\xf9\xec", "של"),
        ("windows-1255", b"\xca\xd9", "\u05ba\ufffd"),
        ("windows-1251", b"\x98", "\x98"),
        ("koi8-u", b"\xae\xbe\xa4", "ўЎє"),
        ("koi8-ru", b"\xd0\xd2", "пр"),
        ("x-mac-cyrillic", b"\xe0\xff\xa2", "а€Ґ"),
        ("x-mac-ukrainian", b"\xb6", "ґ"),
        ("mac", b"\xdb", "€"),
        ("gb2312", b"\x80\x81\x30\x81\x30\xb0\xa1", "€\x80啊"),
        ("gb_2312-80", b"\xa8\xbf\x81\x40", "ǹ丂"),
        ("gb18030", b"\xa6\xd9\xfe\x59", "\ufe10\u9fb4"),
        ("big5", b"\xa4\xa4\x87\x7a\x8e\x69\xa3\xe1\x88\x62", "中㡵箸€Ê̄"),
        ("big5-hkscs", b"\xa1\x45\x96\xed", "‧瀞"),
        ("shift_jis", b"\x87\x40\x81\x60\xfa\x40\xa0\xf0\x40", "①～ⅰ\ufffd\ue000"),
        ("x-sjis", b"\xb1\x5c", "ｱ\\"),
        ("euc-jp", b"\xad\xa1\xa1\xc1\xfc\xee\x8e\xb1\x8f\xb0\xa1", "①～黑ｱ丂"),
        ("iso-2022-jp", b"a\x1b$B-!0!\x1b(J\\~\x1b(I1\x1b(Bb", "a①亜¥‾ｱb"),
        ("euc-kr", b"\x81\x41\xb0\xa1", "갂가"),
        ("ks_c_5601-1987", b"\xc7\xd1\xc6\x52", "한힣"),
        ("windows-949", b"\xb0\xa1\x81", "가\ufffd"),
        ("x-user-defined", b"a\x80\xff", "a\uf780\uf7ff"),
        ("utf-16", "é<".encode("utf-16-le"), "é<"),
        ("unicode", "é<".encode("utf-16-le"), "é<"),
        ("unicodefffe", "é<".encode("utf-16-be"), "é<"),
        ("hz-gb-2312", b"~{VP~}", "\ufffd"),
        ("iso-2022-kr", b"abc", "\ufffd"),
    ],
)  # fmt: skip
def test_labels_mean_what_they_mean_to_browsers(label: str, content: bytes, text: str) -> None:
    assert decoded(content, name_of(label)) == text


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("gbk", b"\xb0\xa1\xff\xb0\xa1", "啊\ufffd啊"),
        ("gbk", b"\x81<p>", "\ufffd<p>"),
        ("euc-jp", b"\xa9\xa1\xb0\xa1\xa1<p>", "\ufffd亜\ufffd<p>"),
        ("shift_jis", b"\x81<\x83\x41", "\ufffd<ア"),
        ("euc-kr", b"\xc9\xa1\xb0\xa1", "\ufffd가"),
        ("big5", b"\x81\xa1\xa4\xa4", "\ufffd中"),
        ("utf-8", b"\xe4\xb8\xad\xe4\xb8<p>", "中\ufffd<p>"),
        ("utf-16le", b"a\0\0\xd8b\0c", "a\ufffdb\ufffd"),
    ],
)
def test_broken_characters_take_nothing_along(name: str, content: bytes, text: str) -> None:
    assert decoded(content, name) == text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_mark_is_believed_before_anything_else(encoding: str) -> None:
    page = f"<meta charset=koi8-r>{RUSSIAN}"
    assert decode(page.encode(encoding), "windows-1251") == page


def test_the_server_is_believed_before_the_page_and_the_page_before_looks() -> None:
    page = f"<meta charset=koi8-r>{RUSSIAN}"
    assert decode(page.encode("cp1251"), "CP1251") == page
    assert decode(page.encode("koi8-r"), "no-such") == page
    assert decode(RUSSIAN.encode("cp1251")) == RUSSIAN
    mojibake = "Ã©" * 9
    assert decode(("é" * 9).encode(), "latin1") == mojibake  # as every browser shows it


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"<meta charset=utf-8>", "utf-8"),
        (b"<META CharSet = ' GB2312 ' >", "gbk"),
        (b'<meta\ncharset\n=\n"latin1"/>', "windows-1252"),
        (b'<meta content="text/html; charset=koi8-r" http-equiv="Content-Type">', "koi8-r"),
        (b"<meta http-equiv=content-type content=text/html;charset='x-sjis'>", "shift_jis"),
        (b"<meta name=x content='text/html; charset=koi8-r'>", ""),
        (b"<!-- <meta charset=koi8-r> --><meta charset=big5>", "big5"),
        (b"<!-- <meta charset=koi8-r>", ""),
        (b"<!--><meta charset=koi8-r>", "koi8-r"),
        (b"<a title='<meta charset=koi8-r>'><meta charset=big5>", "big5"),
        (b"<p data-x='<meta charset=koi8-r>'>", ""),
        (b"<metadata charset=koi8-r>", ""),
        (b"<meta charset=no-such><meta charset=euc-kr>", "euc-kr"),
        (b"<meta charset=utf-16>", "utf-8"),
        (b"<meta charset=x-user-defined>", "windows-1252"),
        (b"<?xml version='1.0' encoding='windows-1251'?><html>", "windows-1251"),
        (b"<?xml version='1.0' encoding='koi8-r'?><meta charset=big5>", "big5"),
        ("<?xml version='1.0'?>".encode("utf-16-le"), "utf-16le"),
        (b"charset=koi8-r", ""),
        (b"", ""),
    ],
)
def test_what_pages_say_of_themselves(start: bytes, name: str) -> None:
    assert declared(start) == name


@pytest.mark.parametrize(
    ("header", "label"),
    [
        ("text/html; charset=UTF-8", "UTF-8"),
        ('text/html;charset="koi8-r"; x=y', "koi8-r"),
        ("text/html; x=y; Charset = big5", "big5"),
        ("text/html; charset=utf-8, text/html", "utf-8"),
        ("text/html", ""),
        ("text/html; charset=", ""),
        ('text/html; a="x;charset=big5"; charset=utf-8', "utf-8"),
        ('text/html; a="x;charset=big5"', ""),
    ],
)
def test_what_servers_say(header: str, label: str) -> None:
    assert charset_of(header) == label


@pytest.mark.parametrize("said", ["header", "page", "nobody"])
@pytest.mark.parametrize("text", [RUSSIAN * 4, GERMAN * 4, "日本語のページです。" * 9])
def test_one_bad_byte_is_no_reason_to_guess(said: str, text: str) -> None:
    start = "<meta charset=utf-8>" if said == "page" else ""
    for bad in (b"\xff", b"\xc3", b"\xe2\x80", b"\xf0\x9f"):
        content = (start + text).encode() + bad + b" end"
        assert decode(content, "utf-8" if said == "header" else "") == start + text + "\ufffd end"
    cut = (start + text).encode()[:-1]
    assert decode(cut, "utf-8" if said == "header" else "").rstrip("\ufffd").startswith(start + text[:-2])


def test_what_is_plainly_wrong_is_guessed_after_all() -> None:
    assert decode((RUSSIAN * 4).encode("cp1251"), "utf-8") == RUSSIAN * 4
    assert decode(b"<meta charset=utf-8>" + (GERMAN * 4).encode("cp1252")).endswith(GERMAN)


def test_wide_characters_are_not_binary() -> None:
    page = "<html><p>" + RUSSIAN
    assert decode(page.encode("utf-16-le"), "utf-16le") == page
    assert decode(page.encode("utf-32")) == page
    assert decode(("<p>" + GERMAN).encode(), "utf-16") == "<p>" + GERMAN  # no such page is in UTF-16
    assert detected(page.encode("utf-16-be")) == "utf-16be"
    with pytest.raises(ExtractionError, match="binary content"):
        decode(b"<p>\0\0\0", "utf-8")


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("cp850", FRENCH),
        ("cp437", GERMAN),
        ("mac_roman", FRENCH),
        ("mac_roman", GERMAN),
        ("mac_latin2", POLISH),
        ("cp857", TURKISH),
        ("mac_turkish", TURKISH),
        ("cp737", GREEK),
        ("cp869", GREEK),
        ("cp862", HEBREW),
        ("cp1252", FRENCH),
        ("cp1252", GERMAN),
        ("cp1254", TURKISH),
        ("cp1253", GREEK),
        ("cp1255", HEBREW),
    ],
)
def test_old_texts_that_say_nothing_are_told_from_newer_ones(codec: str, text: str) -> None:
    assert decode((text * 3).encode(codec)) == text * 3
