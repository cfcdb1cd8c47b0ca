"""A small agent and its tasks, with episodes made up here: no environment is needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import PipelineConfig
from pipeline.config.agent import AgentConfig, Controls, Interface
from pipeline.data.agent.episodes import Episodes, EpisodesFolder, write_episodes

LENGTH, BATCH = 32, 8
TASKS = (
    Controls(name="CartPole-v1", observations=4, choices=2),
    Controls(name="MountainCarContinuous-v0", observations=2, low=[-1.0], high=[1.0]),
)


def interface(pieces: int = 40, **about: Any) -> Interface:
    """Of two tasks."""
    return Interface(tasks=[*TASKS], pieces=pieces, **about)


def config(parallel: dict[str, Any] | None = None, **train: Any) -> PipelineConfig:
    """Of a small decoder."""
    own = {"steps": 2, "global_batch": BATCH, "micro_batch": BATCH, "validation_samples": 10}
    return PipelineConfig(
        name="agent",
        model={"layers": 2, "hidden_size": 32, "heads": 2},
        data={"sequence_length": LENGTH, "view": {"size": 32, "crop": "centre", "flip": 0.0}},
        parallel=parallel or {},
        train=AgentConfig(**own | train),
    )


def episodes(task: Controls, lengths: list[int], seed: int = 0) -> Episodes:
    """Drawn ones of these lengths."""
    rng, steps = np.random.default_rng(seed), sum(lengths)
    actions = (
        rng.integers(0, 2, (steps, 1)).astype(np.int32) if task.choices else rng.uniform(-1, 1, (steps, 1))
    )
    return Episodes(
        rng.normal(0, 1, (steps, task.observations)).astype(np.float32),
        actions if task.choices else actions.astype(np.float32),
        np.array(lengths),
        np.array(lengths, np.float64),
    )


def folder(place: Path, tasks: Sequence[Controls] = TASKS) -> EpisodesFolder:
    """Of two tasks; one episode is shorter than a sequence."""
    written = {
        task.name: (
            task,
            {
                "train": episodes(task, [3, 40, 25], number),
                "validation": episodes(task, [30, 9], number + 10),
            },
        )
        for number, task in enumerate(tasks)
    }
    place.mkdir()
    write_episodes(place, written)
    return EpisodesFolder(place)
