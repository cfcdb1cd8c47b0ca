"""Rationales of questions about pictures, and answers behind them, in one process, by the likeliest tokens.

Answers are learned behind the rationales of a dataset and used behind generated ones, so both are measured:
where they are apart, what is generated is worse than what was learned from. Beside them stands what is
answered at once, and by models that have read the texts alone.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.contract.settings import InputError
from pipeline.evaluation.images.asking import Asked, Lead, chosen
from pipeline.evaluation.images.loading import AT_ONCE, ImageModel, Prompted, open_images
from pipeline.generation.model import Prompts
from pipeline.generation.sampling import GREEDY, generate
from pipeline.generation.session import Session
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.rationales import Wording

GENERATED, GIVEN, ONCE = "generated rationales", "the dataset's rationales", "at once"
TEXT, TEXT_ONCE = "text alone", "text alone, at once"
COMPARED = ((GENERATED, ONCE), (GENERATED, TEXT), (GIVEN, GENERATED))
"""Ways of answering whose difference is told."""
Texts = Sequence[str]


@dataclass(frozen=True)
class Fused(Prompted):
    """A model with the image of each of a batch of prompts, as generation asks for one."""

    samples: ImageSamples

    def session(self, sources: Prompts | None = None, /) -> Session:
        """What is said behind an encoder that reads `sources` with the images; they are as many."""
        model = self.model
        pixels = torch.from_numpy(self.samples.pixels).to(model.device)
        seen = {} if model.config.objective.blind else {"pixels": pixels}
        return Session(model.whole, model.device, model.config.context_length, sources=sources, seen=seen)


def said(model: ImageModel, samples: ImageSamples, questions: Texts, rationales: Texts) -> list[str]:
    """What a model says to a question about each picture, behind a rationale or behind an empty one."""
    wording = Wording.of(model.config, model.vocabulary)
    prompts = [wording.fitting(*texts) for texts in zip(questions, rationales, strict=True)]
    found = generate(Fused(model, samples), prompts, wording.length, GREEDY, stop_ids={model.vocabulary.eos})
    return [model.vocabulary.decode(one).strip() for one in found]


@dataclass(frozen=True)
class Reasoned(Asked):
    """A question about a picture, what was said to it, and the rationales that were generated."""

    rationales: dict[str, str] = field(default_factory=dict)
    """By the way of answering."""

    @property
    def right_rationale(self) -> bool:
        """Whether the one generated with the picture is the very words."""
        return self.rationales[GENERATED].casefold() == self.question.rationale.casefold()

    @property
    def says_answer(self) -> bool:
        """Whether the right answer stands in it, as whole words."""
        words = re.escape(self.question.answer.casefold())
        return re.search(rf"(?<!\w){words}(?!\w)", self.rationales[GENERATED].casefold()) is not None

    def row(self, split: str, ids: Sequence[int]) -> dict[str, Any]:
        """All of it, as a line of JSON has it."""
        return {
            "split": split,
            "picture": ids[self.picture],
            **self.question._asdict(),
            "rationales": self.rationales,
            "answers": self.said,
        }


@dataclass(frozen=True)
class Reasoners:
    """Runs of image_rationales by what they say, with pictures and without."""

    seeing: Mapping[str, ImageModel]
    blind: Mapping[str, ImageModel]

    @classmethod
    def opened(cls, places: Iterable[Path]) -> "Reasoners":
        """The newest checkpoint of each run.

        `InputError` where one has learned something else, two the same, or where none says rationales or
        none answers behind them.
        """
        found: dict[bool, dict[str, ImageModel]] = {False: {}, True: {}}
        for place in places:
            model = open_images(place)
            learned = model.config.objective
            if learned.kind != "image_rationales":
                raise InputError(f"{model.run}: it has learned {learned.kind}; image_rationales is expected")
            if (other := found[learned.blind].get(learned.says)) is not None:
                raise InputError(
                    f"{model.run}: it says the {learned.says} as {other.run} does; name one of them"
                )
            found[learned.blind][learned.says] = model
        for says in ("rationale", "answer"):
            if says not in found[False]:
                raise InputError(
                    f"of: no run there says the {says}; one of objective image_rationales with says {says} "
                    "that is not blind is expected"
                )
        return cls(found[False], found[True])

    def reason(self, pictures: ImageSamples) -> list[Reasoned]:
        """Every question about some pictures that has a rationale, answered in every way that there is a run
        for."""
        rows = [(row, one) for row, asked in enumerate(pictures.questions) for one in asked if one.rationale]
        found = []
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            questions = [one.question for _, one in part]
            seen = chosen(pictures, [row for row, _ in part])
            answers, rationales = self._said(seen, questions, [one.rationale for _, one in part])
            for place, (row, one) in enumerate(part):
                found.append(Reasoned(row, one, at(answers, place), at(rationales, place)))
        return found

    def _said(
        self, seen: ImageSamples, questions: Texts, given: Texts
    ) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Answers and generated rationales by the way of answering."""
        none = [""] * len(questions)
        answers, rationales = {}, {}
        for models, chained, once in ((self.seeing, GENERATED, ONCE), (self.blind, TEXT, TEXT_ONCE)):
            if {"rationale", "answer"} <= {*models}:
                rationales[chained] = said(models["rationale"], seen, questions, none)
                answers[chained] = said(models["answer"], seen, questions, rationales[chained])
            if "answer_at_once" in models:
                answers[once] = said(models["answer_at_once"], seen, questions, none)
        answers[GIVEN] = said(self.seeing["answer"], seen, questions, given)
        order = (GENERATED, GIVEN, ONCE, TEXT, TEXT_ONCE)
        return {way: answers[way] for way in order if way in answers}, rationales


def at(by_way: Mapping[str, Texts], place: int) -> dict[str, str]:
    """One text of each way."""
    return {way: texts[place] for way, texts in by_way.items()}


def leads(asked: Sequence[Reasoned]) -> Iterator[tuple[str, str, Lead]]:
    """By how much the answers of one way are more often right than those of another."""
    for one, other in COMPARED:
        if other in asked[0].said:
            differences = [each.right(one) - each.right(other) for each in asked]
            yield one, other, lead_over_pictures(differences, [each.picture for each in asked])


def lead_over_pictures(differences: Sequence[int], pictures: Sequence[int]) -> Lead:
    """The mean of paired differences with its 95 % interval over pictures, of the normal approximation.

    Answers to questions about one picture are not independent, so what varies is the sum over each picture.
    """
    values = np.array(differences, float)
    mean, sums = values.mean(), defaultdict[int, float](float)
    for value, picture in zip(values, pictures, strict=True):
        sums[picture] += value - mean
    error = 1.96 * sum(one**2 for one in sums.values()) ** 0.5 / len(values)
    return float(mean), float(mean - error), float(mean + error)


def reasoned_line(one: Reasoned) -> str:
    """A question, the rationale that was generated and the answer behind it."""
    wrong = "" if one.right_rationale else " [not so]"
    return f"{one.question.question}  {one.rationales[GENERATED]}{wrong}  {one.said[GENERATED]}"
