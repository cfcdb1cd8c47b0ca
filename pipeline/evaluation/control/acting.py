"""An agent in its tasks, and before pictures: in one process, the likeliest token each time.

What it reads at a step are whole steps: those of a demonstration, which stay, then as many of the latest as
there is room for, then what is seen now.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.problems import first_problem
from data_prep.contract.reading import read_json
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.run_folder import AGENT, read_config
from pipeline.config import PipelineConfig
from pipeline.config.agent import Controls, Interface
from pipeline.data.agent.episodes import EpisodesFolder
from pipeline.data.agent.streams import TaskSteps, prompt_steps
from pipeline.distributed import world
from pipeline.generation.load import find_checkpoint
from pipeline.models.agent import agent_layers
from pipeline.objectives.agent.rows import pictures, without_pictures
from pipeline.objectives.agent.steps import Tokens, action_ids, actions_of, places, seen_tokens
from pipeline.objectives.draws import combine, key, uniform
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.registry import objective_of
from pipeline.parallel.stack import Stack

PROMPT = 230  # what a number is drawn for


@dataclass(frozen=True)
class Agent:
    """A trained agent; float32 on a CPU, bfloat16 on a GPU."""

    config: PipelineConfig
    interface: Interface
    vocabulary: Vocabulary
    module: Stack
    device: torch.device

    @property
    def length(self) -> int:
        """Tokens that it reads at once."""
        return self.config.data.sequence_length

    @torch.inference_mode()
    def next(self, batch: dict[str, NDArray[Any]], ids: slice) -> Tokens:
        """[B] the likeliest of some ids behind rows `tokens` [B, S]."""
        inputs = without_pictures(batch, self.interface) | batch
        given = {name: torch.from_numpy(array).to(self.device) for name, array in inputs.items()}
        logits_BV = self.module(given)["logits"][-1].float()
        found: Tokens = (logits_BV[:, ids].argmax(1) + ids.start).cpu().numpy()
        return found


def open_agent(path: Path) -> Agent:
    """The newest checkpoint of a run, or the one that `path` names. `InputError` where it is no agent."""
    checkpoint, run = find_checkpoint(path)
    if not (run / AGENT).is_file():
        raise InputError(f"{run}: no agent ({AGENT} is not there); a run of pretrain_agent is expected")
    if damage := checkpoint.damage():
        raise InputError(f"{checkpoint.folder}: {damage}; use an earlier checkpoint")
    try:
        interface = Interface.model_validate(read_json(run / AGENT))
    except ValidationError as error:
        raise InputError(f"{run / AGENT}: not an agent's ({first_problem(error)})") from None
    config = read_config(run)
    device = world.start_alone(config.seed).device
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    module = (
        Stack(agent_layers(config, interface, dtype, objective_of(config.objective).head)).to(device).eval()
    )
    named = dict(module.named())
    checkpoint.check_fits({name: list(parameter.shape) for name, parameter in named.items()})
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(checkpoint.merged(name))
    return Agent(config, interface, Vocabulary(run / TOKENIZER), module, device)


class ActingPolicy:
    """What an agent does in the episodes of a task, each perhaps behind a demonstration of its own."""

    def __init__(self, agent: Agent, task: Controls, demonstrations: Sequence[NDArray[Any]]) -> None:
        """`demonstrations` are steps [P, W] for each episode, as many for all."""
        self.agent, self.task = agent, task
        self.demonstrations = np.stack(demonstrations).astype(np.int64)
        shown = self.demonstrations.shape[1] * task.width
        self.room = (agent.length - shown) // task.width - 1
        if self.room < 0:
            raise InputError(
                f"{task.name}: a demonstration of {shown} tokens leaves no room for a step of {task.width} "
                f"in the {agent.length} that the agent reads"
            )
        self.past: dict[int, list[Tokens]] = {}

    @cached_property
    def places(self) -> Tokens:
        """[W] those of a step's tokens."""
        return places(self.task)

    def __call__(self, numbers: list[int], shown: NDArray[Any]) -> NDArray[Any]:
        """What is done in each episode, whose steps all began together."""
        seen = seen_tokens(shown, self.agent.interface)
        before = np.stack([self._before(number) for number in numbers])
        rows = np.concatenate((before.reshape(len(numbers), -1), seen), 1)
        ids, done = action_ids(self.task, self.agent.interface), np.zeros((len(numbers), 0), np.int64)
        for _ in range(self.task.actions):
            tokens = np.concatenate((rows, done), 1)
            where = np.resize(self.places, tokens.shape[1])
            given = {"tokens": tokens, "local_positions": np.tile(where, (len(numbers), 1))}
            done = np.concatenate((done, self.agent.next(given, ids)[:, None]), 1)
        for number, step in zip(numbers, np.concatenate((seen, done), 1), strict=True):
            self.past.setdefault(number, []).append(step)
        return actions_of(done, self.task, self.agent.interface)

    def _before(self, number: int) -> Tokens:
        """[n, W] the steps before this one that are read."""
        latest = self.past.get(number, [])[-self.room :] if self.room else []
        return np.concatenate(
            (self.demonstrations[number], np.array(latest, np.int64).reshape(-1, self.task.width))
        )


def demonstrations(
    agent: Agent, folder: EpisodesFolder, task: Controls, count: int, seed: int, prompted: bool
) -> list[NDArray[Any]]:
    """For each of so many episodes steps of the expert, chosen as in training; none where not `prompted`."""
    if not prompted:
        return [np.zeros((0, task.width), np.int64)] * count
    steps = TaskSteps(folder.split(task, "train"), task, agent.interface)
    wanted = prompt_steps(task, agent.length)
    drawn = uniform(combine(key(seed, PROMPT), np.arange(count)), 3, PROMPT)
    found = [
        steps.tokens[steps.prompt(int(which * len(steps.episodes)), where, kind, wanted)]
        for which, where, kind in drawn.tolist()
    ]
    fewest = min(map(len, found))
    return [one[:fewest] for one in found]


def captions(agent: Agent, samples: ImageSamples) -> list[str]:
    """What an agent says of each picture."""
    interface, end = agent.interface, agent.vocabulary.eos
    batch = pictures(samples, interface, agent.vocabulary, agent.length)
    names = ("pixels", "image_places", "patch_rows", "patch_columns")
    patches = interface.patches
    said = np.full((len(samples), patches), agent.vocabulary.pad)
    where = batch["local_positions"][:, :patches]
    for _ in range(agent.length - patches):
        given = {"tokens": said, "local_positions": where} | {name: batch[name] for name in names}
        chosen = agent.next(given, slice(0, interface.pieces))
        said = np.concatenate((said, chosen[:, None]), 1)
        where = np.pad(where, ((0, 0), (0, 1)), constant_values=-1)
        if (said[:, patches:] == end).any(1).all():
            break
    return [
        agent.vocabulary.decode(one[: one.index(end)] if end in one else one).strip()
        for one in said[:, patches:].tolist()
    ]
