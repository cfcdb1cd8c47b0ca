"""Instruction files: both row shapes, arrays, compression, and every way to get a row wrong."""

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from data_prep.contract.settings import InputError
from pipeline.prompting.chat import ChatTemplate, Message
from pipeline.tuning.instructions import dataset_files, read_conversations
from tests.pipeline import tiny

PAIR = {"instruction": "Add.", "input": "2, 3", "output": "5"}
CHAT = {"messages": [{"role": "user", "content": "Add."}, {"role": "assistant", "content": "5"}]}


def write(path: Path, *rows: Any) -> Path:
    path.write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8"
    )
    return path


def test_pairs_and_chats_become_conversations(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", PAIR, "", {"instruction": "Add.", "output": "5"}, CHAT)
    asked, answered = Message("user", "Add."), Message("assistant", "5")
    assert read_conversations(path) == [
        (Message("user", "Add.\n\n2, 3"), answered),
        (asked, answered),
        (asked, answered),
    ]


def test_arrays_and_compressed_files_read_the_same(tmp_path: Path) -> None:
    lines, array = "\n".join(map(json.dumps, [PAIR, CHAT])), json.dumps([PAIR, CHAT])
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "b.json").write_text(array)
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "d.json.xz").write_bytes(lzma.compress(array.encode()))
    first, *others = [read_conversations(path) for path in sorted(tmp_path.iterdir())]
    assert len(first) == 2
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"instruction": "Add."', "line 2: not JSON"),
        ({"question": "Add.", "answer": "5"}, "line 2: a row needs .* has question, answer"),
        ({"instruction": "Add.", "output": 5}, "line 2: .* must be strings"),
        ([1], "line 2: a row needs .* has a list"),
        ({"messages": []}, "line 2: messages must be a list"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "line 2: a message needs a role"),
        ({"messages": [{"role": "user", "content": "x"}]}, "line 2: .* of the assistant"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(tmp_path: Path, row: Any, words: str) -> None:
    path = write(tmp_path / "rows.jsonl", PAIR, row)
    with pytest.raises(InputError, match=f"rows.jsonl, {words}"):
        read_conversations(path)


def test_a_truncated_gzip_is_the_users_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(PAIR).encode() * 50)[:-10])
    with pytest.raises(InputError, match="truncated or corrupt"):
        read_conversations(path)


def test_a_json_file_that_is_no_array_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="array of rows"):
        read_conversations(write(tmp_path / "rows.json", PAIR))
    with pytest.raises(InputError, match="no such file"):
        read_conversations(tmp_path / "none.jsonl")


def test_the_files_of_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tune\.data"):
        dataset_files(tmp_path)
    tiny.write_pairs(tmp_path / "instructions" / "train.jsonl", 3)
    train = tmp_path / "instructions" / "train.jsonl"
    assert dataset_files(tmp_path) == ([train], [])
    tiny.write_pairs(tmp_path / "instructions" / "validation.jsonl", 3)
    assert dataset_files(tmp_path) == ([train], [train.with_name("validation.jsonl")])


def test_texts_are_cleaned_as_documents_are(tmp_path: Path) -> None:
    """Halves of surrogate pairs and control characters end in no tokenizer."""
    bad = "cut \ud83d off\x00 here\x1b[2J\x7f\u200b"
    rows = [
        {"instruction": bad, "input": bad, "output": bad},
        {"messages": [{"role": "user", "content": bad}, {"role": "assistant", "content": bad}]},
    ]
    path = write(tmp_path / "rows.jsonl", *rows)
    good = "cut  off here[2J"
    pair, chat = read_conversations(path)
    assert [message.content for message in pair] == [f"{good}\n\n{good}", good]
    assert [message.content for message in chat] == [good, good]
    vocabulary = tiny.vocabulary(tmp_path / "tokenizer.model")
    assert len(ChatTemplate(vocabulary).encode([pair, chat])) == 2


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (DEEP, "nested too deep"),
        (f'{{"instruction": {DEEP}', "nested too deep"),
        ('{"instruction": "a", "output": NaN}', "must be strings"),
        ('{"instruction": "a", "output": Infinity}', "must be strings"),
        ('{"instruction": "a", "input": 0, "output": "b"}', "must be strings"),
        ('{"instruction": "a", "input": [], "output": "b"}', "must be strings"),
        ('{"instruction": null, "output": "b"}', "must be strings"),
        ("9" * 5000, "JSON that cannot be read"),
        ("NaN", "a row needs .* has a float"),
        ('{"messages": {"role": "user"}}', "messages must be a list"),
        ('{"messages": [["user", "a"]]}', "a message needs a role"),
        ('{"messages": [{"role": ["user"], "content": "a"}]}', "a message needs a role"),
        ('{"messages": [{"role": {"a": 1}, "content": "a"}]}', "a message needs a role"),
        ('{"messages": [{"role": "user", "content": [{"type": "text"}]}]}', "a message needs a role"),
        ('{"messages": [{"role": "user", "content": NaN}]}', "a message needs a role"),
        (json.dumps({"a\x1b[2J": 1}), r"has a.x1b\[2J"),
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_a_row_that_is_no_conversation_is_one_sentence(
    tmp_path: Path, suffix: str, row: str, words: str
) -> None:
    content = f"{json.dumps(PAIR)}\n\n{row}\n".encode()
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    with pytest.raises(InputError, match=rf"rows{suffix}, line 3: .*{words}") as found:
        read_conversations(path)
    assert len(str(found.value)) < 600
    assert str(found.value).isprintable()


def test_bytes_that_are_no_text_are_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps(PAIR).encode() + b'\n{"instruction": "\xff", "output": "b"}\n')
    with pytest.raises(InputError, match=r"rows\.jsonl, line 2: not UTF-8"):
        read_conversations(path)
    path.write_text(json.dumps(PAIR) + "\n", encoding="utf-16")
    assert len(read_conversations(path)) == 1
    path.write_text(json.dumps(PAIR) + "\r\n", encoding="utf-8-sig")
    assert len(read_conversations(path)) == 1
    separated = json.dumps({**PAIR, "output": "a\u2028b"}, ensure_ascii=False)
    path.write_text(separated + "\n", encoding="utf-8")
    assert read_conversations(path)[0][1].content == "a\u2028b"


def test_a_corrupt_block_of_a_compressed_file_is_the_users_error(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(json.dumps(PAIR).encode() * 50))
    content[15:30] = bytes(15)
    (tmp_path / "rows.jsonl.gz").write_bytes(content)
    with pytest.raises(InputError, match="truncated or corrupt"):
        read_conversations(tmp_path / "rows.jsonl.gz")
