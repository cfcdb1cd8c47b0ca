"""Stages that train an agent and let it act: what they leave, what they tell, what they refuse."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.receipt import Receipt, read_receipt, write_receipt
from data_prep.contract.report import Table
from data_prep.contract.settings import InputError
from launch.show import describe, trace
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import checkpoint_folder
from pipeline.config.agent import Controls
from pipeline.evaluation.control.acting import captions, open_agent
from pipeline.generation.load import load_model
from pipeline.stages.act import same, words
from pipeline.stages.pretrain_agent import PretrainAgent
from tests.distributed.processes import run_world
from tests.pictures import write_pictures
from tests.pipeline import tiny
from tests.pipeline.agent import small
from tests.pipeline.stages.in_process import recipe_graph, train

# Untrained, an agent would need a thousand steps to end an episode of the mountain car.
TASKS = (small.TASKS[0], Controls(name="Pendulum-v1", observations=3, low=[-2.0], high=[2.0]))
TRAIN = {
    **{"steps": 3, "global_batch": 8, "micro_batch": 8, "warmup_steps": 1},
    **{"validate_every": 3, "validation_samples": 8, "checkpoint_every": 2},
}


def plain(folder: Path, **about: Any) -> dict[str, Any]:
    """A recipe of an agent, and of what it does."""
    agent = {"kind": "pretrain_agent", "patch_channels": 4} | {
        key: str(folder / name)
        for key, name in (("data", "texts"), ("episodes", "episodes"), ("pictures", "pictures"))
    }
    acted = {"kind": "act", "of": "agent", "count": 2, "shown": 4} | {
        key: str(folder / key) for key in ("episodes", "pictures")
    }
    return {
        "name": "agent",
        "model": {"layers": 2, "hidden_size": 32, "heads": 2},
        "data": {"sequence_length": 40, "view": {"size": 32, "crop": "centre", "flip": 0.0}},
        "train": TRAIN,
        "stages": {"agent": agent | about, "acted": acted},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained agent with what it learned from."""
    place = tmp_path_factory.mktemp("agent")
    known = tiny.vocabulary(place / TOKENIZER)
    texts = {"train": tiny.sentences(100), "validation": tiny.sentences(10)}
    tiny.dataset(place / "texts", texts, tokenizer=known)
    write_pictures(place / "pictures", train=12, validation=6, tokenizer=known)
    small.folder(place / "episodes", TASKS)
    write_receipt(place / "episodes", Receipt(stage="episodes", fingerprint="episodes", config={}))
    run_world(1, train, place, plain(place), ["agent"])
    return place


@pytest.mark.slow
def test_a_training_that_goes_on_is_the_one_that_was_not_ended(folder: Path) -> None:
    before, again = folder / "work" / "agent", folder / "again" / "agent"
    shutil.copytree(before, again)
    shutil.rmtree(checkpoint_folder(again, 3))
    (again / "receipt.json").unlink()
    run_world(1, partial(train, work="again"), folder, plain(folder), ["agent"])
    one, other = (Checkpoint(checkpoint_folder(run, 3)) for run in (before, again))
    for name in one.index.tensors:
        assert torch.equal(one.weight(name), other.weight(name)), name


def test_an_agent_acts_and_says_what_it_sees(folder: Path) -> None:
    pytest.importorskip("gymnasium")
    graph = recipe_graph(folder, plain(folder))
    stage = graph.stages["acted"]
    receipt = graph.kind(stage).run(stage, lambda line: None)
    report = graph.kind(stage).report(stage.folder, receipt)
    returns, said = (part for one in report.sections for part in one.parts if isinstance(part, Table))
    players = ["the agent", "the agent, behind a demonstration", "the expert", "at random"]
    assert [row[:2] for row in returns.rows] == [[task.name, who] for task in TASKS for who in players]
    by_name = {(row[0], row[1]): row for row in returns.rows}
    assert by_name["CartPole-v1", "the expert"][2:] == ["500.0", "500.0 to 500.0", "100%"]
    assert by_name["CartPole-v1", "at random"][4] == "0%"
    assert [row[0] for row in said.rows] == ["validation, whole captions", "validation, words of captions"]
    assert receipt.counts["returns"]["CartPole-v1"]["the agent"]["of"] == 2
    assert "gymnasium" in receipt.versions
    whole = receipt.counts["captions"]["validation, whole captions"]
    assert (whole["mean"], whole["low"], whole["high"]) == (0.0, 0.0, pytest.approx(0.4899, abs=1e-4))


def test_a_caption_is_what_is_likeliest_token_by_token(folder: Path) -> None:
    from data_prep.contract.pictures import ImageDataset
    from pipeline.data.images.stream import ImageStream
    from pipeline.objectives.agent.rows import pictures

    agent = open_agent(folder / "work" / "agent")
    dataset, view = ImageDataset(folder / "pictures"), agent.config.data.view
    samples = ImageStream(dataset, "validation", view, 32, 0, train=False).stored(0, 3)
    found = captions(agent, samples)
    batch = pictures(samples, agent.interface, agent.vocabulary, agent.length)
    for row in range(3):
        said: list[int] = []
        while len(said) < agent.length - 4 and agent.vocabulary.eos not in said:
            given = {name: torch.from_numpy(array[row : row + 1]) for name, array in batch.items()}
            tokens = torch.tensor([[agent.vocabulary.pad] * 4 + said])
            places = torch.tensor([[1, 2, 3, 4] + [-1] * len(said)])
            with torch.inference_mode():
                flow = given | {"tokens": tokens, "local_positions": places}
                logits = agent.module(flow)["logits"][-1, 0, : agent.vocabulary.size]
            said.append(int(logits.argmax()))
        assert (
            found[row]
            == agent.vocabulary.decode([one for one in said if one != agent.vocabulary.eos]).strip()
        )
    assert (same("a red ring", "a red ring"), same("red", "a red ring")) == (1, 0)
    assert words("a blue ring", "a red ring") == pytest.approx(2 / 3)


def test_a_run_is_told_of_and_is_no_language_model(folder: Path) -> None:
    run = folder / "work" / "agent"
    receipt = read_receipt(run)
    assert receipt is not None
    assert receipt.counts["parameters"] == sum(one.numel() for one in open_agent(run).module.parameters())
    assert describe(run)["checkpoints"] == ["step-000002", "step-000003"]
    with pytest.raises(InputError, match="is an agent, of whose batches nothing is told"):
        trace(run, 1)
    with pytest.raises(InputError, match="an agent; a stage of kind act lets it act"):
        load_model(run)
    graph = recipe_graph(folder, plain(folder))
    report = graph.kind(graph.stages["agent"]).report(run, receipt)
    assert "validation loss" in [one.label for one in report.headlines]


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"model": {"architecture": "encoder_decoder"}}, "causal_lm does not train"),
        ({"data": {"sequence_length": 20}}, "a step of CartPole-v1 takes 6 tokens"),
        ({"patch_size": 5}, "patch_size 5 does not cut pictures of 32 pixels evenly"),
        ({"patch_size": 4}, "no room for words behind the 64 patches"),
        ({"episodes": "./nowhere"}, "no episodes there"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(folder: Path, about: dict[str, Any], said: str) -> None:
    own = plain(folder)
    own["stages"]["agent"] |= {
        key: str(folder / "texts") if key == "data" else one
        for key, one in about.items()
        if key not in ("model", "data")
    }
    own |= {key: own[key] | one for key, one in about.items() if key in ("model", "data")}
    with pytest.raises(InputError, match=said):
        PretrainAgent().job(recipe_graph(folder, own).stages["agent"])
