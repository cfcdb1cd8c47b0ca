"""What one run is made with: the pipeline's sections of a recipe, and whether they go together."""

from typing import Self

from pydantic import Field, SerializeAsAny, model_validator

from data_prep.contract.settings import Settings
from pipeline.config.data import DataConfig
from pipeline.config.evaluation import EvalConfig
from pipeline.config.generator import generator_of
from pipeline.config.model import ModelConfig
from pipeline.config.objective import IN_TEXT, ON_IMAGES, TRAINS, ObjectiveConfig
from pipeline.config.optimizer import OptimizerConfig, TrainConfig
from pipeline.config.parallel import ParallelConfig
from pipeline.config.rollouts import RolloutConfig
from pipeline.config.tracking import TrackingConfig
from pipeline.config.vision import VisionConfig


class PipelineConfig(Settings):
    name: str
    """Name of the recipe: the default work folder and the MLflow parent run are called by it."""
    seed: int = Field(1234, ge=0, lt=1 << 63)
    """Seed of every random choice."""
    model: ModelConfig = ModelConfig()
    vision: VisionConfig | None = None
    """What reads images; null has none, and only then is `model` all there is."""
    objective: ObjectiveConfig = ObjectiveConfig()
    data: DataConfig = DataConfig()
    parallel: ParallelConfig = ParallelConfig()
    train: SerializeAsAny[OptimizerConfig] = TrainConfig()
    """The keys of the training at hand, whatever its kind."""
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self.data.check_objective(self.objective)
        self._objective_fits_model()
        if self.vision is not None:
            self._vision_fits(self.vision)
        if not self.reads_text:
            return self
        self._layout_fits_model()
        learned = self.model.positions == "learned"
        if learned and self.model.max_positions and self.model.max_positions < self.longest:
            raise ValueError(
                f"model.max_positions {self.model.max_positions} is less than "
                + (
                    f"the {self.longest} tokens of an image"
                    if self.longest > self.data.sequence_length
                    else f"data.sequence_length {self.data.sequence_length}"
                )
            )
        return self

    @property
    def reads_text(self) -> bool:
        """Whether the section `model` is a part of what is trained."""
        return self.vision is None or self.objective.kind in ("contrastive", "image_tokens", *IN_TEXT)

    @property
    def longest(self) -> int:
        """Most tokens of a sequence of the section `model`: of a text, or of an image as tokens."""
        tokens = self.vision.patches if self.vision and self.objective.kind == "image_tokens" else 0
        return max(self.data.sequence_length, tokens)

    def _vision_fits(self, vision: VisionConfig) -> None:
        sizes = self.parallel
        if self.objective.kind == "image_tokens":
            if self.model.architecture != "encoder_decoder":
                raise ValueError(
                    "objective.kind image_tokens needs model.architecture encoder_decoder; it is "
                    f"{self.model.architecture}"
                )
        else:
            vision.check_layout(sizes.tensor, sizes.pipeline, sizes.sequence)
        if self.objective.kind in ("masked_patches", "quantised_patches") and (
            vision.architecture != "vit" or self.parallel.sequence
        ):
            raise ValueError(
                f"objective.kind {self.objective.kind} takes patches one by one from a sequence of them; it "
                "needs vision.architecture vit and parallel.sequence false"
            )
        if self.objective.kind in ("quantised_patches", "image_tokens") and vision.quantiser is None:
            raise ValueError(
                f"objective.kind {self.objective.kind} needs the section vision.quantiser, such as "
                "{codes: 8192, code_size: 32}"
            )
        if self.objective.kind == "diffusion":
            self._denoiser_fits(vision)
        if self.objective.kind in IN_TEXT:
            self._images_fit_text(vision)
        mixes = [name for name in ("mixup", "cutmix") if getattr(self.objective, name)]
        if mixes and self.train.micro_batch % 2:
            raise ValueError(
                f"objective.{mixes[0]} mixes pairs, and a micro_batch of {self.train.micro_batch} has no "
                "pairs; an even one has"
            )

    def _denoiser_fits(self, vision: VisionConfig) -> None:
        wanted = {"architecture": "vit", "class_token": False, "pooling": "mean", "embedding_norm": False}
        for name, value in wanted.items():
            if getattr(vision, name) != value:
                word = str(value).lower()
                raise ValueError(f"objective.kind diffusion needs vision.{name} {word}")
        if vision.positions == "none" or self.parallel.sequence:
            raise ValueError(
                "objective.kind diffusion needs vision.positions learned or sinusoidal, and "
                "parallel.sequence false"
            )
        low = self.objective.diffusion.low_size
        if low and (low >= vision.image_size or vision.image_size % low):
            raise ValueError(
                f"objective.diffusion.low_size {low} is not a part of vision.image_size {vision.image_size}"
            )

    def _images_fit_text(self, vision: VisionConfig) -> None:
        kind, model = self.objective.kind, self.model
        if vision.architecture != "vit" or vision.layers < 2:
            raise ValueError(
                f"objective.kind {kind} reads the last but one layer of a vision.architecture vit of two "
                f"layers or more; it is {vision.architecture} with {vision.depth}"
            )
        wanted = "encoder_decoder" if kind == "image_rationales" else "decoder"
        if model.architecture != wanted:
            raise ValueError(
                f"objective.kind {kind} needs a model.architecture {wanted}; it is {model.architecture}"
            )
        if kind == "image_rationales" and self.objective.pictures > 1:
            raise ValueError(
                f"objective.pictures {self.objective.pictures}: image_rationales has one picture a question"
            )
        if kind == "image_pages" and self.parallel.sequence:
            raise ValueError(
                "objective.kind image_pages looks at images with whole texts; set parallel.sequence false"
            )
        in_place = kind == "image_answers" and not self.objective.blind
        patches = self.objective.pictures * vision.patches if in_place else 0
        if self.data.sequence_length <= patches:
            raise ValueError(
                f"data.sequence_length {self.data.sequence_length} has no room for words behind the "
                f"{patches} patches of objective.pictures {self.objective.pictures}"
            )

    def _objective_fits_model(self) -> None:
        if (self.objective.kind in ON_IMAGES) != (self.vision is not None):
            wanted = ON_IMAGES if self.vision is not None else TRAINS[self.model.architecture]
            raise ValueError(
                f"objective.kind {self.objective.kind} is not learned by this kind of stage; "
                f"{' or '.join(wanted)} is"
            )
        if self.vision is not None:
            return
        kinds = TRAINS[self.model.architecture]
        if self.objective.kind not in kinds:
            raise ValueError(
                f"objective.kind {self.objective.kind} does not train a model.architecture "
                f"{self.model.architecture}; {' or '.join(kinds)} does"
            )
        if self.objective.span_boundary and self.model.word_size:
            raise ValueError(
                f"objective.span_boundary predicts words from states of their width; model.word_size is "
                f"{self.model.word_size}, leave it out"
            )
        if self.objective.kind == "replaced_tokens":
            generator_of(self.model, self.objective)

    def _layout_fits_model(self) -> None:
        model, tensor = self.model, self.parallel.tensor
        self._experts_fit_layout()
        split = {"model.heads": model.heads, "model.feed_forward_size": model.mlp_size}
        if model.experts:
            if model.experts.every == 1 and not model.experts.shared:
                del split["model.feed_forward_size"]  # an expert is not cut
            split["model.experts.count"] = model.experts.count
        if self.generator:
            split["objective.generator_share: the generator's heads"] = self.generator.heads
        if model.kv_heads > 1:
            split["model.key_value_heads"] = model.kv_heads
        if self.parallel.sequence:
            split["data.sequence_length"] = self.data.sequence_length
        for key, value in split.items():
            if value % tensor:
                raise ValueError(f"{key} {value} is not divisible by parallel.tensor {tensor}")
        if model.layers + model.encoder_depth < self.parallel.pipeline:
            raise ValueError(
                f"model.layers {model.layers} is fewer than parallel.pipeline {self.parallel.pipeline}"
            )

    def _experts_fit_layout(self) -> None:
        """What only some ranks hold is exchanged in every forward pass, so that all of them must make it."""
        model, ranks = self.model, self.parallel.experts
        if ranks == 1:
            return
        if model.experts is None:
            raise ValueError(f"parallel.experts {ranks} shares model.experts, and there are none")
        parts = self.parallel.tensor * ranks
        if model.experts.count % parts:
            raise ValueError(
                f"model.experts.count {model.experts.count} is not divisible by parallel.tensor x "
                f"parallel.experts, {parts}"
            )
        if self.train.optimizer != "adamw":
            raise ValueError(
                f"parallel.experts {ranks} needs optimizer adamw; {self.train.optimizer} needs whole matrices"
            )
        if isinstance(self.train, RolloutConfig) or self.train.suites:
            raise ValueError(
                f"parallel.experts {ranks} does not go with answers that each rank generates by itself, in "
                "rollouts or suites"
            )

    @property
    def generator(self) -> ModelConfig | None:
        """The model that replaces tokens beside a discriminator, where there is one."""
        if self.objective.kind != "replaced_tokens" or not self.model.language_head:
            return None
        return generator_of(self.model, self.objective)

    @property
    def speaker(self) -> Self:
        """What predicts words: the model without heads beside it, or a generator as a model of its own."""
        if self.generator is None:
            alone = self.objective.model_copy(update={"span_boundary": False})
            return self.model_copy(update={"objective": alone}) if self.objective.span_boundary else self
        objective = self.objective.model_copy(update={"kind": "masked_lm"})
        return self.model_copy(update={"model": self.generator, "objective": objective})

    @property
    def can_answer(self) -> bool:
        """Whether the model says something in return, which instructions could teach it."""
        return self.model.architecture != "encoder"

    @property
    def position_table(self) -> int:
        """Length of the table of learned positions."""
        return self.model.max_positions or self.longest

    @property
    def context_length(self) -> int:
        """Most tokens that the model reads at once: what it was trained on here, or before it came here."""
        return max(self.model.context_length or 0, self.data.sequence_length)


class EvaluationConfig(PipelineConfig):
    """What an evaluation is made with: the sections of the models that it measures, and its own."""

    eval: EvalConfig = EvalConfig()
