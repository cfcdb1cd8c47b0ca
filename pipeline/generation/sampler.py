"""The policy as a sampler: a copy of its weights that generates, whatever layout the policy learns in.

It is cut over the same tensor-parallel ranks and has all pipeline stages' layers on every rank, so that each
generates answers to prompts of its own; without sequence parallelism, for a token has no sequence to cut. The
copy takes one more model's memory, and is made anew before each rollout.
"""

import contextlib
from collections.abc import Collection, Sequence

import deepspeed
import torch
import torch.distributed as dist
from megatron.core import parallel_state

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.distributed.gathering import gathered
from pipeline.generation.answers import Answer, answers
from pipeline.generation.load import LoadedModel
from pipeline.generation.sampling import Sampling, streams
from pipeline.models.lora import add_adapters
from pipeline.objectives.model import model_layers
from pipeline.parallel.engine import Engine
from pipeline.parallel.stack import Stack


class Sampler:
    """Generates with the weights that an engine has at `refresh`. All ranks call everything together."""

    def __init__(
        self, engine: Engine, config: PipelineConfig, vocabulary: Vocabulary, dtype: torch.dtype
    ) -> None:
        self.engine, self.world = engine, engine.world
        if config.parallel.experts > 1:
            raise InputError(
                f"parallel.experts {config.parallel.experts} does not go with answers that each rank "
                "generates by itself; 1 does"
            )
        whole = config.model_copy(update={"parallel": config.parallel.model_copy(update={"sequence": False})})
        self.stack = Stack(model_layers(whole, vocabulary.size, dtype))
        if config.train.lora:
            add_adapters(self.stack.layers(), config.train.lora)
        self.stack.to(self.world.device).eval().requires_grad_(False)
        self.model = LoadedModel(config, vocabulary, self.world.device, self.stack, 0)
        held = gathered(frozenset(engine.parameters))
        line = dist.get_process_group_ranks(parallel_state.get_pipeline_model_parallel_group())
        self._owners = {
            name: next(rank for rank in line if name in held[rank]) for name, _ in self.stack.named()
        }

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the engine's weights as they are now."""
        group = parallel_state.get_pipeline_model_parallel_group()
        for name, copy in self.stack.named():
            own = self.engine.parameters.get(name)
            with self._whole(own):
                if self._owners[name] == self.world.rank:
                    assert own is not None
                    copy.copy_(own)
            if self.world.pipeline_size > 1:
                dist.broadcast(copy, self._owners[name], group=group)

    def _whole(self, parameter: torch.Tensor | None) -> contextlib.AbstractContextManager[None]:
        """A context in which ZeRO 3 has put a parameter together."""
        if self.engine.zero_stage == 3 and parameter is not None:
            found: contextlib.AbstractContextManager[None] = deepspeed.zero.GatheredParameters([parameter])
            return found
        return contextlib.nullcontext()

    def answer(
        self,
        prompts: Sequence[Sequence[int]],
        max_tokens: int,
        sampling: Sampling,
        stop_ids: Collection[int],
        at_once: int,
    ) -> list[Answer]:
        """An answer to each prompt, the same in every layout: each data-parallel rank and stage has a share.

        A rank generates `at_once` of them together.
        """
        draws = streams(prompts, max_tokens, sampling.seed)
        world = self.world
        share, shares = (
            world.data_rank + world.data_size * world.pipeline_rank,
            world.data_size * world.pipeline_size,
        )
        own = list(range(share, len(prompts), shares))
        found: dict[int, Answer] = {}
        for first in range(0, len(own), at_once):
            part = own[first : first + at_once]
            given = [prompts[index] for index in part]
            made = answers(self.model, given, max_tokens, sampling, stop_ids, draws[part])
            found |= dict(zip(part, made, strict=True))
        everyone: dict[int, Answer] = {}
        for one in gathered(found if world.tensor_rank == 0 else {}):
            everyone |= one
        return [everyone[index] for index in range(len(prompts))]
