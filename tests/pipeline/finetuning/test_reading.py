"""Files of every format become the same rows; what is wrong with one is a sentence with its place."""

import gzip
import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from data_prep.contract.settings import InputError
from pipeline.finetuning.reading import read_rows
from pipeline.tasks.settings import ReadConfig

ROWS = [{"text": 'one, "two"', "label": "a"}, {"text": "three", "label": "b"}]


def written(folder: Path) -> dict[str, tuple[Path, ReadConfig]]:
    """The same rows in every format."""
    contents = {
        "rows.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
        "rows.json": json.dumps(ROWS),
        "rows.csv": '\ufefftext,label\r\n"one, ""two""",a\r\nthree,b\r\n',
        "rows.tsv": '\ufefftext\tlabel\r\none, "two"\ta\r\nthree\tb\r\n',
        "bare.tsv": 'one, "two"\ta\nthree\tb\n',
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content.encode())
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress(contents["rows.jsonl"].encode()))
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / "rows.parquet")
    found = {name: (folder / name, ReadConfig()) for name in (*contents, "packed.jsonl.gz", "rows.parquet")}
    return found | {"bare.tsv": (folder / "bare.tsv", ReadConfig(columns=["text", "label"]))}


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    for name, (path, how) in written(tmp_path).items():
        assert [dict(row.values) for row in read_rows(path, how)] == ROWS, name
    assert read_rows(tmp_path / "rows.tsv", ReadConfig())[1].where.endswith("rows.tsv: line 3")


def test_conll_and_squad(tmp_path: Path) -> None:
    (tmp_path / "t.conll").write_text("-DOCSTART- O\n\nEU B-ORG\nrejects O\n\nPeter B-PER\n")
    rows = read_rows(tmp_path / "t.conll", ReadConfig())
    assert [row.values["tags"] for row in rows] == [["B-ORG", "O"], ["B-PER"]]
    answers = [{"text": "here", "answer_start": 0}]
    qas = [{"id": "1", "question": "where", "answers": answers}]
    squad = {"version": "1.1", "data": [{"title": "", "paragraphs": [{"context": "here", "qas": qas}]}]}
    (tmp_path / "s.json").write_text(json.dumps(squad))
    (row,) = read_rows(tmp_path / "s.json", ReadConfig())
    assert row.values["context"] == "here"
    assert row.values["answers"] == answers


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"text": 1}\n[1]\n', "a.jsonl: line 2: an object with columns is expected, not a list"),
        ("a.tsv", "text\tlabel\none\n", "a.tsv: line 2 has 1 cells and there are 2 columns (text, label)"),
        ("a.csv", 'text,label\n"one,a\n', "a.csv: not CSV"),
        ("a.tsv", "", "a.tsv: no rows"),
        ("a.tsv", "same\tsame\n1\t2\n", "taken for the names of columns and two are equal"),
        ("a.conll", "EU B-ORG 0\n", "line 1 has 3 columns and 2 are named"),
        ("a.json", '{"data": [{"paragraphs": 3}]}', "article 1: not as SQuAD has it"),
        ("a.parquet", "PAR", "a.parquet: not Parquet"),
        ("a.bin", "x", "its name says no format"),
        ("a.jsonl.gz", "x", "truncated or corrupt"),
    ],
)
def test_what_is_wrong_is_a_sentence(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as error:
        read_rows(tmp_path / name, ReadConfig())
    assert said in str(error.value)
