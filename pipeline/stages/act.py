"""The kind of stage that lets an agent act in its tasks, beside the experts and actions at random.

    acted: {kind: act, of: agent, episodes: episodes, count: 30, pictures: pictures}

Every player begins the same episodes. The agent plays them twice: from what it has read of the episode alone,
and behind a demonstration. Where the stage names `pictures`, it is also asked for captions of held-out ones.
Needs gymnasium: pip install 'bloomery[control]'.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, PositiveInt

from data_prep.contract.pictures import VALIDATION, ImageDataset
from data_prep.contract.reading import read_json
from data_prep.contract.receipt import Receipt, write_atomic
from data_prep.contract.report import Headline, Part, Section, StageReport, Table, Text
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.stages import PICTURES, Input, Kind, Notify, Stage
from pipeline.data.agent.episodes import EPISODES, EpisodesFolder
from pipeline.evaluation.control.play import AtRandom, Policy, by_expert, check_installed, play, seeds
from pipeline.evaluation.intervals import wilson
from pipeline.preferences.frontier import interval
from pipeline.stages.pretrain_agent import ACTS

if TYPE_CHECKING:
    from pipeline.evaluation.control.acting import Agent

RESULTS = "results.json"
ALONE, SHOWN, EXPERT, CHANCE = "the agent", "the agent, behind a demonstration", "the expert", "at random"
OF, PLAYED = Input("of", (ACTS,)), Input("episodes", (EPISODES,))
SEEN = Input("pictures", (PICTURES,), required=False)


class ActConfig(Settings):
    count: int = Field(30, ge=2, le=10_000)
    """Episodes of each task, the same for every player."""
    shown: PositiveInt = 200
    """The first pictures of a split that captions are asked of."""
    splits: list[str] = Field(default_factory=lambda: [VALIDATION], min_length=1)
    """Splits of the pictures."""


class Act(Kind):
    """`act`: returns of an agent, and what it says of pictures."""

    name, gives, settings = "act", "figures", ActConfig
    inputs: ClassVar[tuple[Input, ...]] = (OF, PLAYED, SEEN)
    artifacts = (RESULTS,)
    libraries = ("gymnasium", "numpy", "torch")

    def check(self, stage: Stage) -> None:
        """`InputError` where gymnasium is not installed."""
        check_installed()

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Play, ask, and leave what came of it."""
        from pipeline.evaluation.control.acting import open_agent

        settings = stage.settings
        of, played, seen = (stage.source(one.key) for one in (OF, PLAYED, SEEN))
        assert isinstance(settings, ActConfig)
        assert of is not None
        assert played is not None
        check_installed()
        agent, folder = open_agent(of.path), EpisodesFolder(played.path)
        found: dict[str, Any] = {"returns": {}, "captions": {}}
        for task in agent.interface.tasks:
            found["returns"][task.name] = returns(agent, folder, task, settings.count, stage.seed)
            told = {who: round(one["mean"], 1) for who, one in found["returns"][task.name].items()}
            notify(f"{stage.name}: {task.name}, {told}")
        if seen is not None:
            found["captions"] = said(agent, ImageDataset(seen.path), settings, stage.seed)
        write_atomic(stage.folder / RESULTS, json.dumps(found, indent=2) + "\n")
        return found

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """Returns of all players with intervals, and captions."""
        found = read_json(folder / RESULTS)
        rows, figures = [], dict[str, float]()
        for name, players in found["returns"].items():
            low, high = players[CHANCE]["mean"], players[EXPERT]["mean"]
            for who, one in players.items():
                share = (one["mean"] - low) / (high - low) if high != low else float("nan")
                rows.append([name, who, f"{one['mean']:.1f}", ends(one, ".1f"), f"{share:.0%}"])
                figures[f"{name}, {who}"] = one["mean"]
        head = ["task", "player", "mean return", "95 % interval", "of the way from random to expert"]
        parts: list[Part] = [Text(WORDS), Table(head, rows, frozenset({2, 3, 4}))]
        if found["captions"]:
            rows = [
                [what, f"{one['mean']:.1%}", ends(one, ".1%"), f"{one['others']:.1%}"]
                for what, one in found["captions"].items()
            ]
            figures |= {what: one["mean"] for what, one in found["captions"].items()}
            head = ["captions of pictures", "share", "95 % interval", "as captions of others"]
            parts.append(Table(head, rows, frozenset({1, 2, 3})))
        headlines = [
            Headline(f"return in {name}", f"{players[ALONE]['mean']:.1f}", beside(players))
            for name, players in found["returns"].items()
        ]
        return StageReport(
            headlines,
            [Section(f"Acting: {folder.name}", parts)],
            figures={folder.name: figures},
            places={folder.name: str(folder)},
        )


WORDS = (
    "Every player begins the same episodes, which none was trained on. The agent does what is likeliest; the "
    "demonstration is a part of an expert's episode, chosen as in training. Intervals are over episodes."
)


def beside(players: Mapping[str, Mapping[str, float]]) -> str:
    """The returns that another one is measured by."""
    return f"at random {players[CHANCE]['mean']:.1f}, expert {players[EXPERT]['mean']:.1f}"


def ends(one: Mapping[str, float], form: str) -> str:
    """An interval as a cell."""
    return f"{one['low']:{form}} to {one['high']:{form}}"


def returns(agent: "Agent", folder: EpisodesFolder, task: Any, count: int, seed: int) -> dict[str, Any]:
    """What each player's episodes came to."""
    from pipeline.evaluation.control.acting import ActingPolicy, demonstrations

    starts = seeds(seed, f"{task.name}/acted", count)
    players: dict[str, Policy] = {
        **{
            who: ActingPolicy(agent, task, demonstrations(agent, folder, task, count, seed, who == SHOWN))
            for who in (ALONE, SHOWN)
        },
        EXPERT: by_expert(task),
        CHANCE: AtRandom(task, seed),
    }
    return {who: summed(play(task, starts, player).returns) for who, player in players.items()}


def summed(values: Any) -> dict[str, float]:
    """A mean with its 95 % interval."""
    mean, low, high = interval(np.asarray(values, np.float64))
    return {"mean": mean, "low": low, "high": high, "of": len(values)}


def said(agent: "Agent", dataset: ImageDataset, settings: ActConfig, seed: int) -> dict[str, Any]:
    """Shares of whole captions and of their words that are right, and with the captions of other pictures."""
    from pipeline.data.images.stream import ImageStream
    from pipeline.evaluation.control.acting import captions

    size = agent.interface.image_size
    if size is None:
        raise InputError(f"{dataset.folder}: the agent sees no pictures; leave `pictures` out")
    found: dict[str, Any] = {}
    for split in settings.splits:
        stream = ImageStream(dataset, split, agent.config.data.view, size, seed, train=False)
        samples = stream.stored(0, settings.shown)
        told, true = captions(agent, samples), samples.captions
        for what, judge in (("whole captions", same), ("words of captions", words)):
            right = [judge(one, other) for one, other in zip(told, true, strict=True)]
            others = [judge(one, other) for one, other in zip(told, (*true[1:], true[0]), strict=True)]
            one = summed(right)
            if judge is same:  # a share, of which none may be right
                one["low"], one["high"] = wilson(sum(right), len(right))
            found[f"{split}, {what}"] = one | {"others": float(np.mean(others))}
    return found


def same(told: str, true: str) -> float:
    """Whether a caption is said as it is."""
    return float(told == true)


def words(told: str, true: str) -> float:
    """The share of a caption's words that are said, wherever."""
    wanted = true.split()
    return sum(one in told.split() for one in wanted) / max(1, len(wanted))
