"""The stream is one and the same whatever computes it: layouts, workers, stopping and going on."""

import os
import signal
import subprocess
import sys
import time
from concurrent import futures
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig, TrainConfig
from pipeline.data.maker import BatchMaker
from pipeline.data.pretraining import PretrainingBatches
from pipeline.objectives.batches import Batch
from tests.pipeline import tiny
from tests.pipeline.data.corpora import random_documents, write_tokens

SIZES = (1, 2, 3, 4, 8)
GLOBAL_BATCH = 24
OBJECTIVES: list[dict[str, object]] = [
    {"kind": "causal_lm"},
    {"kind": "prefix_lm"},
    {"kind": "masked_lm", "masking": "span", "sentence_task": "next_sentence"},
    {"kind": "span_corruption"},
    {"kind": "denoising"},
]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("corpora")
    write_tokens(
        folder / "own", {"train": random_documents(150, 60, 1), "validation": random_documents(9, 60, 2)}
    )
    write_tokens(
        folder / "other", {"train": random_documents(40, 90, 3), "validation": random_documents(2, 9, 4)}
    )
    return [folder / "own", folder / "other"]


def config(
    corpora: list[Path], objective: dict[str, object], micro_batch: int, **data: object
) -> PipelineConfig:
    """Of a pretraining, whose keys are more than those of any training."""
    train = TrainConfig(global_batch=GLOBAL_BATCH, micro_batch=micro_batch)
    return tiny.config(
        train=train.model_dump(exclude={"start_from"}),
        objective=objective,
        data={
            "sequence_length": 16,
            "shuffle_window": 10,
            "mixture": [{"dataset": str(corpora[1]), "weight": 0.4}],
            **data,
        },
    ).model_copy(update={"train": train})


def rows_of(batches: list[Batch]) -> list[dict[str, object]]:
    """Every sample as its arrays by name; a batch without short samples leaves out that all of it is one."""
    return [
        {name: batch[name][row].tolist() for name in batch}
        | ({} if "segments" in batch else {"segments": [1] * batch["tokens"].shape[1]})
        for batch in batches
        for row in range(len(batch["weights"]))
    ]


@given(
    st.sampled_from(OBJECTIVES),
    st.sampled_from(["joined", "best_fit"]),
    st.lists(st.sampled_from(SIZES), min_size=1, max_size=3),
    st.integers(0, 40),
    st.integers(0, 2**31),
)
@settings(max_examples=20, deadline=None)
def test_stopping_at_any_step_and_going_on_at_any_size(
    corpora: list[Path], objective: dict[str, object], packing: str, sizes: list[int], start: int, seed: int
) -> None:
    """Three steps per size, one size after the other, against one process with micro batches of 24."""

    def maker(micro_batch: int, rank: int, size: int) -> BatchMaker:
        settings = config(corpora, objective, micro_batch, packing=packing).model_copy(update={"seed": seed})
        return BatchMaker(settings, str(corpora[0]), rank, size)

    alone, step = maker(GLOBAL_BATCH, 0, 1), start
    for size in sizes:
        micro_batch = GLOBAL_BATCH // size // (2 if GLOBAL_BATCH // size % 2 == 0 else 1)
        ranks = [maker(micro_batch, rank, size) for rank in range(size)]
        for _ in range(3):
            shares = [rank.step(step) for rank in ranks]
            together = [shares[rank][m] for m, rank in product(range(len(shares[0])), range(size))]
            assert rows_of(together) == rows_of(alone.step(step))
            step += 1


@given(st.sampled_from(OBJECTIVES), st.sampled_from(SIZES), st.sampled_from([1, 2]), st.integers(0, 50))
@settings(max_examples=4, deadline=None)
def test_workers_make_what_a_thread_makes(
    corpora: list[Path], objective: dict[str, object], size: int, workers: int, start: int
) -> None:
    rank = start % size
    here = BatchMaker(config(corpora, objective, 1), str(corpora[0]), rank, size)
    source = PretrainingBatches(config(corpora, objective, 1, workers=workers), corpora[0], rank, size)
    try:
        for step in (start, start + 1, start + 2, 3, start + 9):
            made, expected = source.step(step), here.step(step)
            assert [list(batch) for batch in made] == [list(batch) for batch in expected]
            assert rows_of(made) == rows_of(expected)
            assert {array.dtype for array in made[0].values()} == {
                array.dtype for array in expected[0].values()
            }
    finally:
        source.close()


def test_another_worker_takes_over_when_one_is_killed(
    corpora: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    settings = config(corpora, {"kind": "causal_lm"}, 8, workers=2)
    source = PretrainingBatches(settings, corpora[0], 0, 1)
    here = BatchMaker(settings, str(corpora[0]), 0, 1)
    assert source._pool is not None
    try:
        for step in range(12):
            if step in (3, 7):
                os.kill(source._pool.workers[step % 2].process.pid, signal.SIGKILL)
            assert rows_of(source.step(step)) == rows_of(here.step(step))
    finally:
        source.close()
    said = capfd.readouterr().err
    assert "was killed by SIGKILL while it made step" in said
    assert ".tar" in said


def test_workers_that_keep_dying_end_the_run_with_the_shards_name(
    corpora: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    source = PretrainingBatches(config(corpora, {"kind": "causal_lm"}, 8, workers=1), corpora[0], 0, 1)
    started = time.perf_counter()
    try:
        with pytest.raises(
            InputError, match=r"ended with status 1 while it made step 5 from .*shard-0000\d\.tar"
        ):
            source.step(5)
    finally:
        source.close()
    assert time.perf_counter() - started < 300


ORPHAN = """
import sys, time
from pathlib import Path
from pipeline.config import PipelineConfig, TrainConfig
from pipeline.data.pretraining import PretrainingBatches
source = PretrainingBatches(PipelineConfig.model_validate_json(sys.argv[1]), sys.argv[2], 0, 1)
source.step(0)
print(*(worker.process.pid for worker in source._pool.workers), flush=True)
time.sleep(3600)
"""


def test_workers_end_with_a_parent_that_is_killed(corpora: list[Path]) -> None:
    given = config(corpora, {"kind": "causal_lm"}, 8, workers=2)
    settings = given.model_dump_json(exclude={"train": {"start_from"}})
    command = [sys.executable, "-c", ORPHAN, settings, str(corpora[0])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 300
    while any(is_running(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process is there and not a zombie that nobody has collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_worker_reports_what_is_wrong_in_a_sentence(corpora: list[Path], tmp_path: Path) -> None:
    own = write_tokens(
        tmp_path, {"train": random_documents(20, 60, 1), "validation": random_documents(3, 9, 2)}
    )
    source = PretrainingBatches(
        config([tmp_path, tmp_path], {"kind": "causal_lm"}, 8, workers=1, mixture=[]), own.folder, 0, 1
    )
    (own.folder / "manifest.json").unlink()
    try:
        with pytest.raises(InputError, match="not a dataset"):
            source.step(0)
    finally:
        source.close()


def test_static_masks_stay_and_dynamic_ones_change(corpora: list[Path]) -> None:
    """Two epochs of every sample: its hidden places by its text."""

    def masks(static: bool) -> list[dict[tuple[int, ...], list[int]]]:
        objective = {"kind": "masked_lm", "static_masks": static}
        settings = config(corpora, objective, 1, mixture=[], shuffle_window=1000)
        maker = BatchMaker(settings, str(corpora[0]), 0, 1)
        samples = maker.train.streams[0].order.samples
        epochs = []
        for epoch in range(2):
            batch = maker.make_batch(maker.train.samples(epoch * samples + np.arange(samples)))
            epochs.append(
                {
                    tuple(t.tolist()): w.tolist()
                    for t, w in zip(batch["targets"], batch["weights"], strict=True)
                }
            )
        return epochs

    first, second = masks(static=True)
    assert first == second
    assert list(first) != list(second)  # the same samples in another order
    first, second = masks(static=False)
    common = first.keys() & second.keys()
    assert sum(first[text] != second[text] for text in common) > 0.5 * len(common) > 0


def test_waiting_is_measured(corpora: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    source = PretrainingBatches(config(corpora, {"kind": "causal_lm"}, 8), corpora[0], 0, 1)
    make = source._make
    monkeypatch.setattr(source, "_make", lambda step: (time.sleep(0.5), make(step))[1])
    source.step(0)
    first = source.seconds_waited
    assert first > 0.5
    futures.wait(source._ahead.values())  # the next steps are made meanwhile
    source.step(1)
    assert source.seconds_waited - first < 0.5
    assert source.steps_served == 2
    source.close()
