from pathlib import Path

import pytest

from data_prep.contract.settings import InputError
from data_prep.inspect import describe, lines
from tests.data_prep.helpers import prep_config, prepare_here, story, write_jsonl


def test_describe_counts_and_shows_examples(tmp_path: Path) -> None:
    texts = [story(number, 600) for number in range(20)]
    write_jsonl(tmp_path / "a.jsonl", [*texts, texts[3], *["Tiny."] * 3])
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write("no json\n")
    config = prep_config([tmp_path / "a.jsonl"], corpus={"filters": {"min_characters": 10}})
    prepare_here(config, tmp_path / "out")
    told = describe(tmp_path / "out", examples=2, characters=4)
    assert told["splits"]["train"]["documents"] + told["splits"]["validation"]["documents"] == 20
    assert {rule: found["documents"] for rule, found in told["rejected"].items()} == {
        "too short": 3,
        "exact duplicate": 1,
    }
    assert [row["text"] for row in told["rejected"]["too short"]["examples"]] == ["Tiny", "Tiny"]
    assert told["failures"]["line is not JSON"]["documents"] == 1
    shown = lines(told)
    assert any(line.split() == ["too", "short", "3", "75.00%", "at", "least", "10"] for line in shown)
    assert any(line.endswith("value 5  Tiny") for line in shown)
    assert any(line.split()[:5] == ["kept", "by", "the", "rules", "21"] for line in shown)
    assert not told["complete"]  # no receipt: `prepare` writes it


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a dataset"):
        describe(tmp_path)
