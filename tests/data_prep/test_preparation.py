"""The steps together, in this process: what comes out, and that nothing but the recipe decides it."""

import errno
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import webdataset

from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from data_prep.inspect import describe
from data_prep.parts import made_again
from data_prep.storage import Storage
from tests.data_prep import helpers
from tests.data_prep.helpers import (
    fingerprints,
    here,
    prep_config,
    prepare_here,
    prepare_in,
    story,
    texts_of,
    write_jsonl,
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Four files of 30 stories; the first ten of the last file are in the first one too."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(4):
        write_jsonl(folder / f"{number}.jsonl", [story(30 * number + i) for i in range(30)])
    with (folder / "3.jsonl").open("a") as file:
        for i in range(10):
            file.write(json.dumps({"text": story(i).upper()}) + "\n")
    return folder


def test_every_distinct_document_comes_out_once_and_reads_as_it_went_in(corpus: Path, tmp_path: Path) -> None:
    counts = prepare_here(prep_config([corpus]), tmp_path / "out")
    found = texts_of(tmp_path / "out", "train") + texts_of(tmp_path / "out", "validation")
    assert sorted(text.casefold() for text in found) == sorted(story(i).casefold() for i in range(120))
    assert [row["documents"] for row in counts["funnel"]] == [130, 130, 120, 120]
    assert counts["funnel"][2]["removed"] == {"exact duplicate": 10}
    assert counts["train_documents"] + counts["validation_documents"] == 120
    assert 3 <= counts["validation_documents"] <= 24  # binomial(120, 0.1), far beyond its tails
    Dataset(tmp_path / "out").verify()


def test_documents_are_shuffled_by_the_seed(corpus: Path, tmp_path: Path) -> None:
    orders = []
    for seed in (1, 2):
        prepare_here(prep_config([corpus], seed=seed), tmp_path / str(seed))
        blocks = Dataset(tmp_path / str(seed)).blocks("train")
        orders.append([int(document) for block in blocks for document in block.ids])
    assert set(orders[0]) != set(orders[1])  # another split
    assert [i for i in orders[0] if i in set(orders[1])] != [i for i in orders[1] if i in set(orders[0])]


def test_stock_webdataset_reads_the_shards(corpus: Path, tmp_path: Path) -> None:
    prepare_here(prep_config([corpus]), tmp_path / "out")
    dataset = Dataset(tmp_path / "out")
    url = str(tmp_path / "out" / dataset.split("train").shards[0].path)
    samples = list(webdataset.WebDataset(url, shardshuffle=False).decode())
    for sample, block in zip(samples, dataset.blocks("train"), strict=True):
        assert (sample["tokens.npy"] == block.tokens).all()
        assert (sample["lengths.npy"] == block.lengths).all()
        assert (sample["ids.npy"] == block.ids).all()


def test_the_result_depends_neither_on_parts_nor_on_the_order_of_files(corpus: Path, tmp_path: Path) -> None:
    files = sorted(corpus.iterdir())
    prepare_here(prep_config(files), tmp_path / "a")
    prepare_here(prep_config(files[::-1], corpus={"part_bytes": 1}), tmp_path / "b")
    one, other = Dataset(tmp_path / "a").manifest, Dataset(tmp_path / "b").manifest
    assert one.splits["train"].blocks_sha256 == other.splits["train"].blocks_sha256
    assert one.splits["validation"] == other.splits["validation"]
    assert one.fingerprint == other.fingerprint


def test_a_run_that_lost_any_of_its_parts_ends_with_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    config = prep_config([corpus], corpus={"part_bytes": 1})
    prepare_here(config, tmp_path / "out")
    whole = fingerprints(tmp_path / "out")
    draw = random.Random(5)
    for _ in range(5):
        files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        for path in draw.sample(files, len(files) // 3):
            # a part is marked done last, so a killed run has files without marks and never the reverse
            path.with_name(path.name.split(".")[0] + ".json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        prepare_here(config, tmp_path / "out")
        assert fingerprints(tmp_path / "out") == whole


def test_a_damaged_file_of_a_finished_part_is_made_again(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the right size, so that only who reads it can tell; read in a part or between two steps, after what
    an earlier run left was looked through."""
    monkeypatch.setattr("data_prep.steps.sound", lambda execute, storage, done, notify: done)
    config, out = prep_config([corpus], tokenizer={"sample_bytes": 20_000}), tmp_path / "out"
    prepare_here(config, out)
    before, told = fingerprints(out), list[str]()
    for step in ("collect", "judge", "decide", "shards"):
        for mark in out.glob("parts/*/*.json"):
            if mark.parent.name != step:
                mark.unlink()
        bad = min(path for path in (out / "parts" / step).iterdir() if path.suffix in (".parquet", ".npy"))
        bad.write_bytes(b"?" * bad.stat().st_size)
        made_again(lambda: prepare_here(config, out), Storage(out), told.append)
        assert told.pop() == f"prep: {bad}: damaged, made again"
        assert told == []
        assert fingerprints(out) == before


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), OSError("53503 requested and 32704 written")]
)
def test_a_full_disk_names_the_folder_and_goes_on_when_there_is_room(
    error: OSError, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr("data_prep.tokenize.encode.encode", full)
        with pytest.raises(OSError, match="No space left on device") as told:
            prepare_here(prep_config([corpus]), tmp_path / "out")
    assert told.value.errno == errno.ENOSPC
    assert Path(told.value.filename).parent == tmp_path / "out" / "parts"
    prepare_here(prep_config([corpus]), tmp_path / "out")
    Dataset(tmp_path / "out").verify()


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many parts of each step have run, beside those that look at what an earlier run left."""
    counts: Counter[str] = Counter()

    def counting(step: str, work: Any, parts: Any) -> Any:
        counts.update([step] * len(parts) if step != "check" else [])
        yield from original(step, work, parts)

    original = helpers.here
    monkeypatch.setattr(helpers, "here", counting)
    return counts


def test_a_changed_key_redoes_what_depends_on_it(corpus: Path, tmp_path: Path, ran: Counter[str]) -> None:
    prepare_here(prep_config([corpus]), tmp_path / "out")
    first = set(ran)
    near, late = {"edges", "components"}, {"decide", "sample", "tokenizer", "encode", "shards"}
    assert first == {"collect", "tag", "judge", "exact"} | near | late
    for changes, steps in (
        ({}, set()),
        ({"corpus": {"shards": {"block_tokens": 300}}}, {"shards"}),
        ({"tokenizer": {"vocabulary_size": 450}}, {"tokenizer", "encode", "shards"}),
        ({"corpus": {"filters": {"min_characters": 5}}}, first - {"collect", "tag"}),
        ({"corpus": {"dedup": {"lines": {"enabled": True}}}}, {"lines", "owners", "remains"} | late),
        ({"corpus": {"dedup": {"near": {"enabled": False}}}}, first - {"collect"} - near),
        ({"corpus": {"document_bytes": 5000}}, first),
    ):
        prepare_here(prep_config([corpus]), tmp_path / "out")
        ran.clear()
        prepare_here(prep_config([corpus], **changes), tmp_path / "out")
        assert set(ran) == steps, changes


def test_a_changed_file_redoes_its_own_parts(corpus: Path, tmp_path: Path, ran: Counter[str]) -> None:
    """And what is made of all documents. The tokenizer is given, so that it does not change with the text."""
    prepare_here(prep_config([corpus]), tmp_path / "first")
    model = {"model": tmp_path / "first" / "tokenizer.model"}
    config = prep_config([corpus], tokenizer=model, corpus={"part_bytes": 1})
    prepare_here(config, tmp_path / "out")
    ran.clear()
    write_jsonl(corpus / "2.jsonl", [story(60 + i) for i in range(29)])
    prepare_here(config, tmp_path / "out")
    one = dict.fromkeys(["collect", "tag", "judge", "exact", "edges", "components", "decide", "encode"], 1)
    assert ran == one | {"shards": 2}
    prepare_here(config, tmp_path / "anew")
    assert fingerprints(tmp_path / "out") == fingerprints(tmp_path / "anew")


def test_the_cap_takes_whole_documents_until_it_is_reached(corpus: Path, tmp_path: Path) -> None:
    size = len(story(0).encode())
    for part_bytes in (1, 1 << 30):
        config = prep_config([corpus], corpus={"max_bytes": 50 * size, "part_bytes": part_bytes})
        counts = prepare_here(config, tmp_path / str(part_bytes))
        assert 45 <= counts["funnel"][0]["documents"] <= 55
        assert 50 * size <= counts["funnel"][0]["bytes"] < 52 * size
    assert sorted(texts_of(tmp_path / "1", "train")) == sorted(texts_of(tmp_path / str(1 << 30), "train"))


def test_rejected_documents_are_kept_with_rule_and_value(corpus: Path, tmp_path: Path) -> None:
    write_jsonl(corpus / "short.jsonl", ["too short a text"])
    prepare_here(prep_config([corpus], corpus={"filters": {"min_characters": 100}}), tmp_path / "out")
    rows = [
        row
        for path in (tmp_path / "out" / "parts" / "decide").glob("*.rejected.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    by_rule = {rule: [row for row in rows if row["rule"] == rule] for rule in {row["rule"] for row in rows}}
    assert set(by_rule) == {"too short", "exact duplicate"}
    assert [(row["text"], row["value"]) for row in by_rule["too short"]] == [("too short a text", 16.0)]
    kept = set(pq.read_table(tmp_path / "out" / "documents.parquet")["id"].to_pylist())
    assert len(by_rule["exact duplicate"]) == 10
    assert {row["duplicate_of"] for row in by_rule["exact duplicate"]} <= kept


def test_a_file_without_documents_passes_through_every_filter(corpus: Path, tmp_path: Path) -> None:
    (corpus / "empty.jsonl").write_text('{"text": " "}\n')
    names = ["url", "language", "gopher_repetition", "gopher_quality", "c4", "fineweb"]
    filters = {"use": names, "language": {"keep": []}, "fineweb": {"max_short_lines": 1.0}}
    counts = prepare_here(
        prep_config([corpus], corpus={"part_bytes": 1, "filters": filters}), tmp_path / "out"
    )
    assert counts["funnel"][0]["removed"] == {"empty text": 1}


def test_personal_data_and_evaluation_texts_stay_out(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiz = (
        "which of these seven rivers does flow through more countries than any other one in the whole world"
    )
    mail = f"Write to jane.doe@mail.test or to 8.8.8.8, not to 192.168.0.1.\n{story(777)}"
    write_jsonl(corpus / "more.jsonl", [f"{story(888)}\nWell, {quiz.upper()}!", mail])
    (tmp_path / "rivers.jsonl").write_text(json.dumps({"question": quiz, "choices": ["a", "b"]}) + "\n")
    paths = [str(tmp_path / "rivers.jsonl")]
    ran: list[str] = []

    def counting(step: str, work: Any, parts: Any) -> Any:
        ran.append(step)
        yield from here(step, work, parts)

    storage = Storage(tmp_path / "out")
    prepare_in(storage, prep_config([corpus], corpus={"decontaminate": {"paths": paths}}), counting)
    found = [text for split in ("train", "validation") for text in texts_of(tmp_path / "out", split)]
    masked = mail.replace("jane.doe@mail.test", "email@example.com").replace("8.8.8.8", "192.0.2.1")
    assert masked in found
    assert not any(quiz in text.lower() for text in found)
    rejected = describe(tmp_path / "out")["rejected"]["contaminated"]
    [example] = rejected["examples"]
    assert (rejected["bound"], example["value"]) == ("at most 0", 6)  # 18 words have six runs of 13
    assert example["contaminated_by"] == "rivers.jsonl"
    ran.clear()
    lax = {"decontaminate": {"paths": paths, "most": 6}}
    counts = prepare_in(storage, prep_config([corpus], corpus=lax), counting)
    assert not {"collect", "tag"} & set(ran)  # the signals are there, the decision is new
    assert counts["train_documents"] + counts["validation_documents"] == len(found) + 1


def test_a_small_corpus_still_holds_something_out(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "two.jsonl", [story(1, 600), story(2, 600)])
    config = prep_config([tmp_path / "two.jsonl"], corpus={"validation_share": 0.001})
    counts = prepare_here(config, tmp_path / "out")
    assert (counts["train_documents"], counts["validation_documents"]) == (1, 1)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("", "no document could be read from 1 files"),
        (
            "{broken\n[1]\n",
            "1 line has no text under 'text', 1 line is not JSON|1 line is not JSON, 1 line has",
        ),
        ('{"text": "only one"}\n', "1 documents are left"),
        ('{"text": "Tiny one."}\n{"text": "Tiny two."}\n', "tokenizer.vocabulary_size: 500 is more than"),
    ],
)
def test_what_a_user_got_wrong_is_one_sentence(lines: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text(lines)
    with pytest.raises(InputError, match=sentence):
        prepare_here(prep_config([tmp_path / "bad.jsonl"]), tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_path_with_nothing_behind_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file matches .*nowhere"):
        prepare_here(prep_config([tmp_path / "nowhere*.jsonl"]), tmp_path / "out")
    with pytest.raises(InputError, match=r"no \.jsonl or"):
        prepare_here(prep_config([tmp_path]), tmp_path / "out2")
