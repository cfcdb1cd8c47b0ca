from pathlib import Path

import pytest

from data_prep.filters import c4
from data_prep.filters.settings import C4Filter


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("The cat sat on it.", "The cat sat on it."),
        ("  The cat sat on it?  ", "The cat sat on it?"),
        ("The cat sat on it", None),
        ("The cat sat on it...", None),
        ('He said "the cat sat."', 'He said "the cat sat."'),
        ("The cat sat.", None),  # three words of at least five
        ("The cat[1] sat on it[edit].", "The cat sat on it."),
        ("The cat sat on it [citation needed].", "The cat sat on it ."),
        ("Please turn on JavaScript to read this.", None),
        ("Read our Privacy Policy before you go on.", None),
        ("This site uses cookies for your joy.", None),
        ("The word " + "x" * 1000 + " is long enough.", "The word " + "x" * 1000 + " is long enough."),
        ("The word " + "x" * 1001 + " is too long.", None),
        ("", None),
    ],
)
def test_lines(line: str, kept: str | None) -> None:
    assert c4.clean_lines(line, C4Filter())[0] == (kept or "")


def test_fineweb_leaves_lines_without_punctuation() -> None:
    config = C4Filter(terminal_punctuation=False, min_line_words=3)
    assert c4.clean_lines("A heading of words\nTwo words\nThe end.", config)[0] == "A heading of words"


def test_page_values_see_only_lines_that_the_form_rules_keep() -> None:
    text = (
        "Short {.\nIn javascript we write { and }.\nThis line has one { in it.\nSome Lorem Ipsum is in here."
    )
    kept, values = c4.clean_lines(text, C4Filter())
    assert (values["c4_curly_brackets"], values["c4_lorem_ipsum"]) == (1, 1)
    assert values["c4_lines_dropped"] == 2
    assert kept.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("One. Two! Three?", 3),
        ("One. Two", 2),
        ("3.14 is a number.", 1),
        ('"Go." he said.', 2),
        ("", 0),
        ("Hm...", 1),
    ],
)
def test_sentences(line: str, count: int) -> None:
    assert c4.sentences(line) == count


def test_bad_words_stand_alone(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("Darn\nvery bad\n\n")
    config = C4Filter(bad_words=tmp_path / "bad.txt")
    text = "DARN it is very bad here.\nHe was darned badly very often."
    assert c4.clean_lines(text, config)[1]["c4_bad_words"] == 2
