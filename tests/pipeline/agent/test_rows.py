"""Rows of an agent: of steps with prompts, of texts, of pictures; a pure function of seed and index."""

from pathlib import Path

import numpy as np
import pytest

from data_prep.contract.dataset import TOKENIZER, Dataset
from data_prep.contract.pictures import ImageDataset
from data_prep.contract.settings import InputError
from pipeline.data.agent.batches import AgentBatches
from pipeline.data.agent.episodes import MANIFEST, EpisodesFolder
from pipeline.data.agent.streams import EpisodeRows, TaskSteps, prompt_steps
from pipeline.data.images.stream import ImageStream
from pipeline.objectives.agent.rows import intervals, pictures
from pipeline.objectives.agent.steps import step_tokens
from pipeline.objectives.batches import Batch
from tests.pictures import write_pictures
from tests.pipeline import tiny
from tests.pipeline.agent.small import BATCH, LENGTH, TASKS, config, folder, interface


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes, texts and pictures."""
    found = tmp_path_factory.mktemp("rows")
    words = tiny.vocabulary(found / TOKENIZER)
    tiny.dataset(
        found / "texts", {"train": tiny.sentences(200), "validation": tiny.sentences(20)}, tokenizer=words
    )
    write_pictures(found / "pictures", train=12, validation=6, tokenizer=words)
    folder(found / "episodes")
    return found


def test_a_row_is_steps_of_one_episode_perhaps_behind_those_of_another(place: Path) -> None:
    ids = interface()
    read = EpisodesFolder(place / "episodes")
    rows = EpisodeRows(read, "train", ids, LENGTH, seed=3, prompted=0.25)
    count = 400
    batch = rows.samples(np.arange(count))
    prompted = {task.name: 0 for task in TASKS}
    for number in range(count):
        task = TASKS[number % 2]
        own = read.split(task, "train")
        tokens = step_tokens(own.observations, own.actions, task, ids)
        ends = [*np.cumsum(own.lengths)]
        starts = [0, *ends[:-1]]
        row = [*batch["tokens"][number], batch["targets"][number, -1]]
        assert row[1:-1] == batch["targets"][number, :-1].tolist()
        # which steps of the episodes it has
        steps = [row[at : at + task.width] for at in range(0, LENGTH + 2 - task.width, task.width)]
        found = [
            next((i for i, one in enumerate(tokens.tolist()) if one[: len(step)] == step), -1)
            for step in steps
        ]
        real = [one for one in found if one >= 0]
        breaks = [i for i in range(1, len(real)) if real[i] != real[i - 1] + 1 or real[i] in starts]
        assert len(breaks) <= 1, "two parts at most, each of steps behind one another"
        prompted[task.name] += bool(breaks)
        # learned are actions, and no padding
        weights = batch["weights"][number]
        learned = [at + 1 for at in range(LENGTH) if weights[at]]
        assert learned == [
            at
            for at in range(1, LENGTH + 1)
            if at % task.width > task.observations and at // task.width < len(real)
        ]
        where = [*range(1, task.observations + 1), -1, 0]
        whole = len(real) * task.width
        filled = LENGTH if len(real) == len(steps) and any(row[whole:]) else whole
        wanted = (where * LENGTH)[: min(LENGTH, filled)]
        assert batch["local_positions"][number].tolist() == wanted + [-1] * (LENGTH - len(wanted))
    for many in prompted.values():
        assert 0.15 < many / (count / 2) < 0.35


def test_half_of_the_prompts_are_ends_of_episodes(place: Path) -> None:
    task = TASKS[1]
    steps = TaskSteps(EpisodesFolder(place / "episodes").split(task, "train"), task, interface())
    length = prompt_steps(task, LENGTH)
    assert length == 4
    drawn = np.random.default_rng(0).uniform(size=(500, 3))
    stops = [steps.prompt(int(one * 3), where, kind, length).stop for one, where, kind in drawn.tolist()]
    at_ends = np.isin(stops, np.cumsum(steps.episodes.lengths))
    assert at_ends[drawn[:, 2] < 0.5].all()
    assert at_ends[drawn[:, 2] >= 0.5].mean() < 0.5
    pairs = {steps.pair(one, other) for one, other, _ in drawn.tolist()}
    assert pairs == {(one, other) for one in range(3) for other in range(3) if one != other}


def test_a_caption_is_learned_and_its_picture_is_not(place: Path) -> None:
    dataset = ImageDataset(place / "pictures")
    view = config().data.view
    ids = interface(dataset.vocabulary.size, image_size=32)
    assert (ids.patches, ids.places) == (4, 5)
    samples = ImageStream(dataset, "train", view, 32, 0, train=False).stored(0, 3)
    batch = pictures(samples, ids, dataset.vocabulary, 64)
    said = [*dataset.vocabulary.encode(samples.captions[1]), dataset.vocabulary.eos]
    assert batch["targets"][1, 3 : 3 + len(said)].tolist() == said
    assert np.flatnonzero(batch["weights"][1]).tolist() == [*range(3, 3 + len(said))]
    assert batch["local_positions"][1, :6].tolist() == [1, 2, 3, 4, -1, -1]
    assert batch["image_places"].tolist() == [[0, 1, 2, 3]] * 3
    assert batch["patch_rows"].tolist() == [[32, 32, 96, 96]] * 3
    assert batch["patch_columns"].tolist() == [[32, 96, 32, 96]] * 3
    drawn = intervals(np.arange(500, dtype=np.uint64), 2, 0, train=True)
    assert (drawn.min(0).tolist(), drawn.max(0).tolist()) == ([0, 64], [63, 127])


def batches(place: Path, rank: int, size: int, micro: int = BATCH) -> AgentBatches:
    given = config(micro_batch=micro, texts_weight=0.5)
    ids = interface(Dataset(place / "texts").vocabulary.size, image_size=32)
    return AgentBatches(given, ids, (place / "episodes", place / "texts", place / "pictures"), rank, size)


def same(one: Batch, other: Batch) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def test_ranks_share_a_batch_that_depends_on_its_step_alone(place: Path) -> None:
    alone = batches(place, 0, 1)
    (whole,) = alone.step(5)
    (again,) = batches(place, 0, 1).step(5)
    assert same(whole, again)
    for rank in range(2):
        parts = batches(place, rank, 2, 2).step(5)
        for turn, part in enumerate(parts):
            first = (turn * 2 + rank) * 2
            assert same(part, {name: array[first : first + 2] for name, array in whole.items()})
    kinds = (whole["image_places"] >= 0).any(1), (whole["local_positions"] >= 0).any(1)
    assert 0 < kinds[0].sum() < kinds[1].sum() < BATCH
    named = [one["document"].split(" of ")[1] for one in alone.documents(5)]
    assert len(named) == BATCH
    assert set(named) == {str(place / one) for one in ("episodes", "texts", "pictures")}
    assert [round(one["share"], 3) for one in alone.report(4)] == [0.4, 0.2, 0.4]
    held_out = [batch for rank in range(2) for batch in batches(place, rank, 2, 4).validation()]
    assert len(held_out) == 4
    assert sum((batch["weights"] > 0).any(1).sum() for batch in held_out) == 10


def test_damaged_episodes_are_refused(tmp_path: Path) -> None:
    written = folder(tmp_path / "episodes")
    file = written.folder / "CartPole-v1" / "train.actions.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=r"train\.actions\.npy: not the file that was written"):
        written.split(TASKS[0], "train")
    file.unlink()
    with pytest.raises(InputError, match="no such file of episodes"):
        written.split(TASKS[0], "train")
    (written.folder / MANIFEST).write_text("{}")
    with pytest.raises(InputError, match="no episodes"):
        EpisodesFolder(written.folder)
    with pytest.raises(InputError, match="run the stage that writes them first"):
        EpisodesFolder(tmp_path / "nothing")
