"""Answers of a policy to prompts, scored: rows of tokens with what every model thinks of them.

All ranks hold the whole rollout, so that what is made of it does not depend on the layout: whitened
advantages, minibatches, checkpoints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.distributed.gathering import gathered
from pipeline.distributed.world import World
from pipeline.generation.answers import Answer
from pipeline.models.layer import Flow
from pipeline.objectives.losses import token_log_probabilities
from pipeline.objectives.pairs import at_ends
from pipeline.objectives.policy import scaled
from pipeline.parallel.model import ModelInLayout
from pipeline.preferences.comparisons import MULTIPLE
from pipeline.preferences.prompts import Prompt

Arrays = dict[str, Tensor]


def laid_out(prompts: Sequence[Prompt], given: Sequence[Answer], pad: int, longest: int) -> Arrays:
    """Rows [R, S], padded on the right: tokens, targets, and of these

    answers [R, S]   1 on those that the policy gave
    sampled [R, S]   the log-probabilities with which these were drawn
    lengths [R]      ids of each row
    """
    rows = [[*prompt.tokens, *answer.tokens] for prompt, answer in zip(prompts, given, strict=True)]
    width = min(-(-max(map(len, rows)) // MULTIPLE) * MULTIPLE, longest)
    tokens = torch.full((len(rows), width), pad)
    targets, sampled = tokens.clone(), torch.zeros(tokens.shape)
    answers = torch.zeros(tokens.shape)
    for place, (row, prompt, answer) in enumerate(zip(rows, prompts, given, strict=True)):
        start, size = len(prompt.tokens) - 1, len(row) - 1
        tokens[place, : size + 1] = torch.tensor(row)
        targets[place, :size] = torch.tensor(row[1:])
        answers[place, start:size] = 1
        sampled[place, start:size] = torch.tensor(answer.logs)
    lengths = torch.tensor([len(row) for row in rows])
    return {"tokens": tokens, "targets": targets, "answers": answers, "sampled": sampled, "lengths": lengths}


@dataclass(frozen=True)
class Scorers:
    """The models that look at rows."""

    policy: ModelInLayout
    companions: Mapping[str, ModelInLayout]
    """`reference` and `reward`, those there are."""
    temperature: float
    micro_batch: int

    def score(self, arrays: Arrays) -> Arrays:
        """`logs` of the policy, `reference` and `values` [R, S], `reward` [R], as far as there are.

        All ranks call this together; each data-parallel rank computes its share of the rows.
        """
        world, rows = self.policy.world, len(arrays["tokens"])
        size = self.micro_batch
        firsts = range(
            world.data_rank * size,
            -(-rows // (size * world.data_size)) * size * world.data_size,
            size * world.data_size,
        )
        parts = [torch.arange(first, first + size).clamp(max=rows - 1) for first in firsts]
        batches: list[Any] = [
            {name: arrays[name][part] for name in ("tokens", "targets", "lengths")} for part in parts
        ]
        own: list[tuple[list[int], Arrays]] = [(part.tolist(), {}) for part in parts]
        for name, model in {"policy": self.policy, **self.companions}.items():
            for batch, flow, (_, found) in zip(batches, model.forward(batches), own, strict=False):
                found |= self._seen(name, batch, flow)
        last = world.pipeline_rank == world.pipeline_size - 1
        return joined(gathered(own if last and not world.tensor_rank else []), rows)

    def _seen(self, name: str, batch: Any, flow: Flow) -> Arrays:
        """What one of the models gives of a batch, on the CPU."""
        found: Arrays = {}
        if "logits" in flow:
            logits = scaled(flow["logits"], self.temperature)
            logs = token_log_probabilities(logits, batch["targets"].to(logits.device))
            found["logs" if name == "policy" else name] = logs
        if "values" in flow:
            values = flow["values"]
            ends = at_ends(values, batch["lengths"].to(values.device))
            found["values" if name == "policy" else name] = values if name == "policy" else ends
        return {key: one.float().cpu() for key, one in found.items()}


def joined(ranks: list[list[tuple[list[int], Arrays]]], rows: int) -> Arrays:
    """The rows of all parts in order; a row that fills up a part is there twice and the same."""
    parts = [part for rank in ranks for part in rank]
    found: Arrays = {}
    for name in parts[0][1]:
        one = parts[0][1][name]
        whole = one.new_zeros(rows, *one.shape[1:])
        for places, arrays in parts:
            whole[places] = arrays[name]
        found[name] = whole
    return found


def minibatch(arrays: Arrays, rows: Sequence[int], world: World, size: int) -> list[Arrays]:
    """This rank's micro batches of `size` of the rows of a global minibatch."""
    firsts = range(world.data_rank * size, len(rows), world.data_size * size)
    parts = [torch.tensor(rows[first : first + size]) for first in firsts]
    return [{name: array[part] for name, array in arrays.items()} for part in parts]
