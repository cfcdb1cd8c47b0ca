"""The kind of stage that has scripted experts play control tasks, and keeps the episodes.

    episodes: {kind: episodes, tasks: [CartPole-v1, MountainCarContinuous-v0], train: 60, validation: 10}

An agent learns from them (`pretrain_agent`). Needs gymnasium: pip install 'bloomery[control]'.
"""

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt, field_validator

from data_prep.contract.receipt import Receipt
from data_prep.contract.report import Headline, Section, StageReport, Table, Text
from data_prep.contract.settings import Settings
from data_prep.contract.stages import Kind, Notify, Stage
from pipeline.data.agent.episodes import EPISODES, SPLITS, Episodes, write_episodes
from pipeline.evaluation.control.experts import EXPERTS
from pipeline.evaluation.control.play import AtRandom, by_expert, check_installed, controls, play, seeds


class EpisodesConfig(Settings):
    tasks: list[str] = Field(
        default_factory=lambda: ["CartPole-v1", "MountainCarContinuous-v0"], min_length=1
    )
    """Environments of gymnasium by their ids."""
    train: PositiveInt = 60
    """Episodes of each that are learned from."""
    validation: PositiveInt = 10
    """Those that are held out."""
    slips: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the steps in which something drawn at random is done and not what the expert does, which is
    what is kept: so an agent learns how to come back (DART; Laskey et al. 2017)."""

    @field_validator("tasks")
    @classmethod
    def _played(cls, tasks: list[str]) -> list[str]:
        for name in tasks:
            if name not in EXPERTS:
                raise ValueError(f"{name!r}: no expert plays it; {', '.join(EXPERTS)} are played")
        if len(set(tasks)) < len(tasks):
            raise ValueError(f"{tasks}: a task is there twice")
        return tasks


class PlayEpisodes(Kind):
    """`episodes`: what experts by rules do in control tasks."""

    name, gives, settings = "episodes", EPISODES, EpisodesConfig
    libraries = ("gymnasium", "numpy")

    def check(self, stage: Stage) -> None:
        """`InputError` where gymnasium is not installed."""
        check_installed()

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Play and write."""
        settings = stage.settings
        assert isinstance(settings, EpisodesConfig)
        played, counts = {}, dict[str, Any]()
        for name in settings.tasks:
            task = controls(name)
            splits = {
                split: expert_episodes(task, stage.seed, split, getattr(settings, split), settings.slips)
                for split in SPLITS
            }
            played[name] = task, splits
            counts[name] = {split: told(one) for split, one in splits.items()}
            notify(f"{stage.name}: {name}, {len(splits['train'].actions):,} steps to learn from")
        write_episodes(stage.folder, played)
        return counts

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """Episodes, steps and returns of each task."""
        rows = [
            [name, split, f"{one['episodes']:,}", f"{one['steps']:,}", f"{one['return']:.1f}"]
            for name, splits in receipt.counts.items()
            for split, one in splits.items()
        ]
        table = Table(["task", "split", "episodes", "steps", "mean return"], rows, frozenset({2, 3, 4}))
        words = Text(f"Played by experts by rules; {receipt.config['slips']:.0%} of the steps slipped.")
        steps = sum(splits["train"]["steps"] for splits in receipt.counts.values())
        return StageReport(
            [Headline("steps of experts", f"{steps:,}", folder.name)],
            [Section(f"Episodes: {folder.name}", [words, table])],
        )


def expert_episodes(task: Any, seed: int, split: str, count: int, slips: float) -> Episodes:
    """Episodes of a split, a pure function of the seed."""
    starts = seeds(seed, f"{task.name}/{split}", count)
    slip = AtRandom(task, starts[0], slips)
    return play(task, starts, by_expert(task), slip.over if slips else None)


def told(episodes: Episodes) -> dict[str, float]:
    """Episodes, steps and the mean return."""
    mean = float(np.mean(episodes.returns))
    return {"episodes": len(episodes), "steps": len(episodes.actions), "return": mean}
