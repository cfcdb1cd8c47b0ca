"""A training on a policy's own answers: rollouts, minibatches of them, what a checkpoint keeps.

A rollout of `rollout_batch` answers is learned in `epochs` times as many steps as it has global batches, each
epoch in an order of its own; then the policy answers anew. All that decides what comes next is in `state`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_prep.contract.reading import read_jsonl
from data_prep.contract.receipt import write_atomic
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config.rollouts import RolloutConfig
from pipeline.distributed.gathering import from_main, gathered
from pipeline.generation.answers import Answer
from pipeline.generation.sampler import Sampler
from pipeline.generation.sampling import Sampling
from pipeline.objectives.batches import Batch, BatchSource
from pipeline.objectives.draws import key
from pipeline.objectives.policy import PolicyLoss
from pipeline.parallel.engine import Engine
from pipeline.preferences.methods import Method, divergence
from pipeline.preferences.prompts import Prompt, Prompts
from pipeline.preferences.ratios import TOLERANCE, cause, deviation, training_cause
from pipeline.preferences.rewards import Rewards, told
from pipeline.preferences.rollouts import Arrays, Scorers, laid_out, minibatch
from pipeline.prompting.text import stop_ids
from pipeline.tuning.order import shuffled

SAMPLES = "rollouts.jsonl"
"""A few answers of each rollout with what they were given for them."""
METRIC = "metric."
VALIDATION = 1 << 32
"""Stands in seeds for what is no rollout to learn from."""


@dataclass(frozen=True)
class Parts:
    """What a training on a policy's own answers is put together from."""

    sampler: Sampler
    scorers: Scorers
    prompts: Prompts
    rewards: Rewards
    method: Method
    loss: PolicyLoss
    pretraining: BatchSource | None
    """Batches whose cross-entropy is mixed in; None without."""
    dropout: bool
    """Whether the policy drops out where it learns."""


class Experience:
    """The batches of a policy's own answers. All ranks call everything together."""

    def __init__(
        self,
        engine: Engine,
        parts: Parts,
        settings: RolloutConfig,
        vocabulary: Vocabulary,
        longest: int,
        seed: int,
        folder: Path,
        notify: Callable[[str], None],
    ) -> None:
        self.engine, self.parts, self.settings = engine, parts, settings
        self.vocabulary, self.longest, self.seed, self.folder = vocabulary, longest, seed, folder
        self.notify = notify
        self.minibatches = settings.rollout_batch // settings.global_batch
        self.number, self.place, self.taken = 0, settings.epochs * self.minibatches, 0
        self.coefficient = settings.first_coefficient
        self.arrays: Arrays = {}
        self.metrics: dict[str, float] = {}
        self._fresh = False
        self._warned: set[str] = set()

    def step(self, step: int) -> list[Batch]:
        """This rank's micro batches of the next step, after answering where the answers are used up."""
        del step
        if self.place >= self.settings.epochs * self.minibatches:
            self._answer()
        epoch, part = divmod(self.place, self.minibatches)
        size = self.settings.global_batch
        order = shuffled(self.seed, self.settings.rollout_batch, f"rollout {self.number}", epoch)
        rows = order[part * size : (part + 1) * size].tolist()
        self.place, self.taken = self.place + 1, self.taken + 1
        batches: list[Any] = minibatch(self.arrays, rows, self.engine.world, self.settings.micro_batch)
        if self.parts.pretraining is not None:
            others = self.parts.pretraining.step(self.taken - 1)
            return [mixed(one, other) for one, other in zip(batches, others, strict=True)]
        return batches

    def learned(self, metrics: dict[str, float]) -> dict[str, float]:
        """Take in the metrics of the step that was just taken; gives those of its rollout."""
        found = dict(self.metrics)
        if self._fresh:
            self._fresh = False
            off = max(gathered(self.parts.loss.deviation))
            self.metrics["ratio_deviation"] = found["ratio_deviation"] = off
            if off > TOLERANCE:
                why = training_cause(self.parts.dropout, self._dtype)
                self._warn(f"the ratios of the first minibatch are off 1 by up to {off:.1e}: {why}")
        stop = self.settings.stop_kl
        if stop is not None and from_main(metrics["approximate_kl"] > stop):
            self.place = self.settings.epochs * self.minibatches
        found["minibatch"] = float(self.place)
        return found

    def validate(self) -> dict[str, float]:
        """Rewards, divergence and lengths of the policy's answers to the held-out prompts."""
        self.parts.sampler.refresh()
        prompts = self.parts.prompts.validation
        _, _, _, metrics = self._judged(prompts, key(self.seed, VALIDATION) >> 1)
        names = [name for name in metrics if name != "sampler_deviation"]
        return {f"validation_{name}": metrics[name] for name in names}

    def _answer(self) -> None:
        """A new rollout."""
        settings, method = self.settings, self.parts.method
        self.number += 1
        count = settings.rollout_batch // method.group
        asked = self.parts.prompts.at((self.number - 1) * count, count)
        prompts = [prompt for prompt in asked for _ in range(method.group)]
        self.parts.sampler.refresh()
        given, arrays, scores, metrics = self._judged(prompts, key(self.seed, self.number) >> 1)
        learned = method.learn(arrays, scores, self.coefficient)
        self._tell(prompts, given, scores)
        kept = {name: arrays[name] for name in ("tokens", "targets", "lengths")} | learned.arrays
        self.arrays = {name: array.contiguous() for name, array in kept.items()}
        self.metrics = metrics | learned.metrics | {"rollout": float(self.number)}
        self.coefficient, self.place, self._fresh = learned.coefficient, 0, True
        self.parts.loss.deviation = 0.0

    def _judged(
        self, prompts: list[Prompt], seed: int
    ) -> tuple[list[Answer], Arrays, Tensor, dict[str, float]]:
        """Answers to prompts, their rows with what the models say of them, their scores, and metrics."""
        settings, parts = self.settings, self.parts
        ids, stops = [prompt.tokens for prompt in prompts], stop_ids(self.vocabulary, chat=True)
        sampling = Sampling(temperature=settings.temperature, seed=seed)
        given = parts.sampler.answer(ids, settings.max_tokens, sampling, stops, settings.answers_at_once)
        arrays = laid_out(prompts, given, self.vocabulary.pad, self.longest)
        arrays |= parts.scorers.score(arrays)
        off = self._check(arrays, prompts)
        model = arrays.get("reward")
        scores, rewards = parts.rewards.of(self.engine.world, self.vocabulary, prompts, given, model)
        lengths = arrays["answers"].sum(1)
        ended = torch.tensor([float(one.ended) for one in given])
        metrics = rewards | divergence(arrays)
        metrics |= {"answer_tokens": float(lengths.mean()), "ended": float(ended.mean())}
        return given, arrays, scores, metrics | {"sampler_deviation": off}

    def _check(self, arrays: Arrays, prompts: list[Prompt]) -> float:
        """By how much the policy scores answers otherwise than it drew them; says why."""
        mask = arrays["answers"]
        off_R = deviation(arrays["logs"], arrays["sampled"], mask)
        if float(off_R.max()) > TOLERANCE:
            first = mask * (mask.cumsum(1) == 1)
            first_R = deviation(arrays["logs"], arrays["sampled"], first)
            sizes = torch.tensor([len(prompt.tokens) for prompt in prompts])
            why = cause(off_R, first_R, sizes < sizes.max(), self._dtype)
            self._warn(f"answers are scored off what they were drawn with by up to {off_R.max():.1e}: {why}")
        return float(off_R.max())

    @property
    def _dtype(self) -> torch.dtype:
        return next(iter(self.parts.sampler.stack.parameters())).dtype

    def _warn(self, line: str) -> None:
        """Say a line once."""
        if line.split(": ")[-1] not in self._warned:
            self._warned.add(line.split(": ")[-1])
            self.notify(f"warning: {line}")

    def _tell(self, prompts: list[Prompt], given: list[Answer], scores: Tensor) -> None:
        """Leave some answers of the rollout."""
        if not self.engine.world.is_main or not self.settings.samples:
            return
        path, count = self.folder / SAMPLES, self.settings.samples
        lines = [line for _, line in read_jsonl(path)] if path.is_file() else []
        kept = [line for line in lines if line["rollout"] < self.number]
        for prompt, one, score in list(
            zip(prompts, told(self.vocabulary, prompts, given), scores.tolist(), strict=True)
        )[:count]:
            asked = prompt.messages[-1].content
            kept.append({"rollout": self.number, "prompt": asked, "answer": one.text, "score": score})
        write_atomic(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))

    def state(self) -> Arrays:
        """What a checkpoint keeps: the rollout that is learned from, and where in it the training is."""
        counts = torch.tensor([self.number, self.place, self.taken, int(self._fresh)])
        found = {"counts": counts, "coefficient": torch.tensor([self.coefficient], dtype=torch.float64)}
        metrics = {
            f"{METRIC}{name}": torch.tensor([value], dtype=torch.float64)
            for name, value in self.metrics.items()
        }
        return found | metrics | self.arrays

    def restore(self, state: Arrays) -> None:
        """Be what `state` said."""
        self.number, self.place, self.taken, fresh = state["counts"].tolist()
        self._fresh, self.coefficient = bool(fresh), float(state["coefficient"][0])
        self.metrics = {
            name.removeprefix(METRIC): float(one[0]) for name, one in state.items() if name.startswith(METRIC)
        }
        others = {"counts", "coefficient"}
        self.arrays = {
            name: one for name, one in state.items() if name not in others and not name.startswith(METRIC)
        }

    def validation(self) -> Iterator[Batch]:
        """None: a policy is validated by its answers."""
        return iter(())

    def documents(self, step: int) -> list[dict[str, Any]]:
        """The prompts of the rollout that a step learns from are in its samples."""
        del step
        return [{"document": f"rollout {self.number}"}]

    def report(self, steps: int) -> list[dict[str, Any]]:
        """What became of the prompts, and how many rollouts there were."""
        del steps
        prompts = self.parts.prompts
        sizes = {"train": len(prompts.train), "validation": len(prompts.validation)}
        return [dict(prompts.counts) | sizes | {"rollouts": self.number}]

    def close(self) -> None:
        if self.parts.pretraining is not None:
            self.parts.pretraining.close()


def mixed(one: Arrays, other: Batch) -> Batch:
    """Rows of answers above rows of pretraining, as wide as these; each with weights of its own."""
    tokens = torch.from_numpy(other["tokens"])
    rows, width = tokens.shape
    found: dict[str, Any] = {}
    for name, array in one.items():
        if array.dim() < 2:
            found[name] = torch.cat([array, array.new_full((rows,), width)])
            continue
        wide = torch.nn.functional.pad(array, (0, width - array.shape[1]))
        below = (
            torch.from_numpy(other[name]) if name in ("tokens", "targets") else wide.new_zeros(rows, width)
        )
        found[name] = torch.cat([wide, below])
    answers, weights = len(one["tokens"]), torch.from_numpy(other["weights"])
    found["ptx_weights"] = torch.cat([weights.new_zeros(answers, width), weights])
    return found
