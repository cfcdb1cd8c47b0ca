"""Experts in their tasks, players in step, and an agent's policy beside the plain computation."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.settings import InputError
from pipeline.config.agent import Controls
from pipeline.distributed import world
from pipeline.evaluation.control import play as playing
from pipeline.evaluation.control.acting import ActingPolicy, Agent
from pipeline.evaluation.control.experts import EXPERTS
from pipeline.evaluation.control.play import AtRandom, by_expert, controls, play, seeds
from pipeline.models.agent import agent_layers
from pipeline.models.initialize import initialize
from pipeline.objectives.agent.steps import seen_tokens, step_tokens
from pipeline.objectives.registry import objective_of
from pipeline.parallel.stack import Stack
from pipeline.stages.episodes import PlayEpisodes, expert_episodes
from tests.pipeline.agent.small import LENGTH, TASKS, config, episodes, interface
from tests.pipeline.stages.in_process import recipe_graph
from tests.pipeline.tiny import vocabulary

# Returns that every one of the episodes below is above, and that the mean of random ones is below.
LEVELS = {
    "CartPole-v1": (499.0, 50.0),
    "MountainCarContinuous-v0": (85.0, 0.0),
    "Pendulum-v1": (-450.0, -800.0),
}


@pytest.mark.parametrize("name", EXPERTS)
def test_experts_do_what_chance_does_not(name: str) -> None:
    pytest.importorskip("gymnasium")
    task = controls(name)
    starts = seeds(5, name, 4)
    expert = play(task, starts, by_expert(task))
    chance = play(task, starts, AtRandom(task, 0))
    above, below = LEVELS[name]
    assert expert.returns.min() > above
    assert chance.returns.mean() < below
    assert len(expert.observations) == expert.lengths.sum()


def test_episodes_in_step_are_those_played_one_by_one() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    assert controls("CartPole-v1") == TASKS[0]
    assert controls("MountainCarContinuous-v0") == TASKS[1]
    for task in TASKS:
        starts = seeds(5, task.name, 3)
        together = play(task, starts, AtRandom(task, 1))
        for number, start in enumerate(starts):
            own = together.part(number, 0, int(together.lengths[number]))
            made = gymnasium.make(task.name)
            seen, _ = made.reset(seed=start)
            total, over = 0.0, False
            for shown, action in zip(together.observations[own], together.actions[own], strict=True):
                assert (shown == seen).all()
                assert not over
                seen, reward, ended, cut, _ = made.step(int(action[0]) if task.choices else action)
                total, over = total + reward, ended or cut
            assert over
            assert total == pytest.approx(together.returns[number])


def test_episodes_follow_from_the_seed_and_keep_what_the_expert_meant() -> None:
    pytest.importorskip("gymnasium")
    task = TASKS[1]
    one, again = (expert_episodes(task, 7, "train", 2, 0.2) for _ in range(2))
    other = expert_episodes(task, 7, "validation", 2, 0.2)
    assert (one.observations == again.observations).all()
    assert one.observations[0, 0] != other.observations[0, 0]
    rule = EXPERTS[task.name]
    assert all(
        (rule(shown) == action).all() for shown, action in zip(one.observations, one.actions, strict=True)
    )
    assert one.lengths.sum() != expert_episodes(task, 7, "train", 2, 0.0).lengths.sum()


def agent(place: Path) -> Agent:
    """Of drawn weights."""
    here, given, ids = world.start_alone(0), config(), interface()
    stack = Stack(agent_layers(given, ids, torch.float32, objective_of(given.objective).head)).eval()
    initialize(stack.named(), 3, 0, 1)
    return Agent(given, ids, vocabulary(place / TOKENIZER), stack, here.device)


@pytest.mark.parametrize("shown", [0, 2])
@pytest.mark.parametrize("task", TASKS, ids=lambda one: one.name)
def test_a_policy_reads_what_it_was_shown_and_its_latest_steps(
    tmp_path: Path, task: Controls, shown: int
) -> None:
    made = agent(tmp_path)
    ids = made.interface
    example = episodes(task, [shown + 1] * 3, 4)
    steps = step_tokens(example.observations, example.actions, task, ids).reshape(3, shown + 1, -1)[:, :shown]
    policy = ActingPolicy(made, task, list(steps))
    past: list[list[list[int]]] = [[], [], []]
    rng = np.random.default_rng(0)
    room = LENGTH // task.width - shown - 1
    for turn in range(room + 2):
        numbers = [0, 1, 2] if turn < 2 else [0, 2]
        observations = rng.normal(size=(len(numbers), task.observations))
        done = policy(numbers, observations)
        for number, seen, action in zip(numbers, observations, done, strict=True):
            now = seen_tokens(seen[None], ids)[0].tolist()
            latest = [token for step in past[number][-room:] for token in step]
            row = [*steps[number].ravel().tolist(), *latest, *now]
            assert len(row) < LENGTH
            where = ([*range(1, task.observations + 1), -1, 0] * LENGTH)[: len(row)]
            with torch.inference_mode():
                flow = {"tokens": torch.tensor([row]), "local_positions": torch.tensor([where])}
                logits = made.module(flow)["logits"][-1, 0]
            if task.choices:
                token = int(logits[:2].argmax())
                assert action.tolist() == [token]
            else:
                bin_ = int(logits[ids.values : ids.values + 1024].argmax())
                token = ids.values + bin_
                assert action[0] == pytest.approx((bin_ + 0.5) / 512 - 1, abs=1e-6)
            past[number].append([*now, token])


def test_a_demonstration_that_leaves_no_room_is_refused(tmp_path: Path) -> None:
    steps = np.zeros((LENGTH // 6, 6), np.int64)
    with pytest.raises(InputError, match="leaves no room for a step"):
        ActingPolicy(agent(tmp_path), TASKS[0], [steps])


def test_what_cannot_be_played_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"name": "played", "stages": {"episodes": {"kind": "episodes", "train": 1, "validation": 1}}}
    with pytest.raises(InputError, match="no expert plays it"):
        recipe_graph(tmp_path, plain | {"stages": {"one": {"kind": "episodes", "tasks": ["Breakout"]}}})
    graph = recipe_graph(tmp_path, plain)
    monkeypatch.setattr(playing, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"not installed: pip install 'bloomery\[control\]'"):
        PlayEpisodes().run(graph.stages["episodes"], print)
