"""What answers are worth: a reward model's score and rules', each with its weight, logged apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from data_prep.contract.vocabulary import Vocabulary
from pipeline.distributed.gathering import from_main, together
from pipeline.distributed.world import World
from pipeline.generation.answers import Answer
from pipeline.preferences.prompts import Prompt
from pipeline.preferences.rules import Rule, Told, judged, rule_called


@dataclass(frozen=True)
class Rewards:
    """Weighted rewards; rules are asked on the main rank alone."""

    rules: dict[str, tuple[Rule, float]]
    model_weight: float
    model_mean: float
    """What the reward model gives on its references; scores are counted from it."""
    missing_end: float | None
    """The score of an answer that did not come to its end; None judges it as it is."""

    def of(
        self,
        world: World,
        vocabulary: Vocabulary,
        prompts: Sequence[Prompt],
        given: Sequence[Answer],
        model_R: Tensor | None,
    ) -> tuple[Tensor, dict[str, float]]:
        """[R] scores, and means of each reward; all ranks call this together."""
        answers = told(vocabulary, prompts, given)
        parts: dict[str, Tensor] = {}
        if model_R is not None:
            parts["model"] = model_R.double() - self.model_mean
        found = from_main(
            together(
                lambda: (
                    {name: judged(name, rule, answers) for name, (rule, _) in self.rules.items()}
                    if world.is_main
                    else {}
                )
            )
        )
        parts |= {name: torch.tensor(said, dtype=torch.float64) for name, said in found.items()}
        weights = {"model": self.model_weight} | {name: weight for name, (_, weight) in self.rules.items()}
        scores = torch.stack([weights[name] * one for name, one in parts.items()]).sum(0)
        if self.missing_end is not None:
            ended = torch.tensor([one.ended for one in given])
            scores = scores.where(ended, self.missing_end)
        means = {f"reward_{name}": float(one.mean()) for name, one in parts.items()}
        return scores.float(), {"reward": float(scores.mean())} | means


def weighted(
    weights: Mapping[str, float],
    where: str,
    vocabulary: Vocabulary,
    prompts: Sequence[Prompt],
    given: Sequence[Answer],
) -> tuple[list[float], list[str]]:
    """The weighted sum of some rules for each answer, and the texts, in this process."""
    answers, scores = told(vocabulary, prompts, given), [0.0] * len(given)
    for name, weight in weights.items():
        said = judged(name, rule_called(name, f"{where}.rules"), answers)
        scores = [score + weight * one for score, one in zip(scores, said, strict=True)]
    return scores, [one.text for one in answers]


def told(vocabulary: Vocabulary, prompts: Sequence[Prompt], given: Sequence[Answer]) -> list[Told]:
    """Answers as rules read them."""
    return [
        Told(prompt.messages, vocabulary.decode(answer.tokens).strip(), answer.ended, prompt.row)
        for prompt, answer in zip(prompts, given, strict=True)
    ]
