"""Models of image tokens, the quantiser of those tokens and a judge of their pictures, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.pictures import ImageDataset
from data_prep.contract.settings import InputError
from data_prep.contract.shapes import nouns_of
from data_prep.contract.stages import Source
from pipeline.checkpoints.run_folder import checkpoint_folder, saved_steps
from pipeline.costs import vision as costs
from pipeline.costs.flops import padded_vocabulary
from pipeline.evaluation.images.loading import ImageModel, maps, open_images
from pipeline.evaluation.images.text_to_image import TextToImage, best_of, open_text_to_image
from pipeline.evaluation.images.tokenizer import ImageTokenizer, open_tokenizer
from pipeline.generation.sampling import Sampling
from pipeline.objectives.vision.image_tokens import check_maps
from pipeline.objectives.vision.token_maps import numbers_of

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Prompts:
    """What is asked for, and the true pictures after the quantiser."""

    captions: list[str]
    pictures: Pixels

    def distinct(self, count: int) -> list[str]:
        """The first captions that differ."""
        return list(dict.fromkeys(self.captions))[:count]


@dataclass(frozen=True)
class Studio:
    """What makes pictures of texts."""

    by_name: Mapping[str, TextToImage]
    tokenizer: ImageTokenizer
    judge: ImageModel | None
    dataset: ImageDataset
    sampling: Sampling

    @classmethod
    def opened(
        cls, inputs: Mapping[str, tuple[Source, ...]], temperature: float, top_k: int, seed: int
    ) -> "Studio":
        """The runs that a stage reads. `InputError` where they do not go together."""
        tokenizer = open_tokenizer(inputs["codes"][0].path)
        dataset = ImageDataset(inputs["data"][0].path)
        check_maps(dataset, tokenizer.model.vision)
        models = {one.path.name: open_text_to_image(one.path, tokenizer) for one in inputs["of"]}
        judge = open_images(inputs["judge"][0].path) if inputs.get("judge") else None
        if judge is not None and not judge.config.reads_text:
            raise InputError(f"{judge.run}: a judge reads texts, too; a run of objective contrastive does")
        return cls(models, tokenizer, judge, dataset, Sampling(temperature, top_k, seed=seed))

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return [*self.by_name]

    @property
    def reranks(self) -> bool:
        """Whether there is a judge."""
        return self.judge is not None

    def sizes(self) -> list[dict[str, Any]]:
        """Name and parameters of each model."""
        return [{"name": name, "parameters": parameters(one)} for name, one in self.by_name.items()]

    def steps(self, name: str) -> list[int]:
        """Steps of a model's training whose checkpoints are there."""
        return saved_steps(self.by_name[name].model.run)

    def prompts(self, split: str, count: int) -> Prompts:
        """The captions of the first pictures of a split. `InputError` where the oracle does not know them."""
        samples = maps(self.dataset, split, self.tokenizer.model.vision.side, count)
        for caption in samples.captions:
            if not nouns_of(caption)[0]:
                raise InputError(
                    f"{self.dataset.folder}: {caption!r} is no caption of shapes, and pictures are "
                    "judged by the rules of these"
                )
        return Prompts([*samples.captions], self.tokenizer.pictures(numbers_of(samples.pixels)))

    def pictures(
        self, name: str, captions: Sequence[str], guidance: float, step: int | None = None
    ) -> Pixels:
        """[B, Y, X, 3] a picture for each caption, of a model or of what it was at a step."""
        model = self.by_name[name]
        if step is not None:
            model = model.at(checkpoint_folder(model.model.run, step))
        return self.tokenizer.pictures(model.tokens(captions, guidance, self.sampling))

    def best(self, name: str, captions: Sequence[str], guidance: float, count: int) -> Pixels:
        """[B, Y, X, 3] of `count` pictures for each caption the one that the judge finds nearest to it."""
        assert self.judge is not None
        every = self.pictures(name, [caption for caption in captions for _ in range(count)], guidance)
        chosen = best_of(self.judge, every, captions, count)
        found: Pixels = every[np.arange(len(captions)) * count + chosen]
        return found


def parameters(one: TextToImage) -> int:
    """Of a model of image tokens."""
    return costs.parameters(one.model.config, padded_vocabulary(one.model.vocabulary.size))
