"""What every training is told of its steps: the optimizer, the schedule, what is saved and when."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from data_prep.contract.settings import InputError, Settings
from pipeline.config.lora import LoRA
from pipeline.config.ramp_up import RampUp

PUBLISHED: dict[str, dict[str, float]] = {
    "adamw": {},
    # Shazeer and Stern 2018, as T5 used it: updates are clipped one by one, nothing decays
    "adafactor": {"weight_decay": 0.0, "clip_gradient_norm": 0.0},
    # You et al. 2020, BERT
    "lamb": {"beta2": 0.999, "epsilon": 1e-6, "weight_decay": 0.01},
    # Liu et al. 2025: updates are as large as AdamW's, whose rate and decay therefore serve
    "muon": {},
}
"""What each optimizer has for keys that the recipe leaves out, where it is not this file's default."""


class OptimizerConfig(Settings):
    """The optimizer, its learning rate and its batches; shared by all trainings."""

    later: ClassVar[frozenset[str]] = frozenset(
        {
            "optimizer",
            "parameter_scaling",
            "schedule",
            "decay_steps",
            "decay_from",
            "ramp_up",
            "rates",
            "layer_decay",
            "no_decay",
            "freeze",
            "average",
            "lora",
        }
    )
    renamed: ClassVar[Mapping[str, str]] = {"clip": "clip_gradient_norm"}

    not_in_fingerprint: ClassVar[frozenset[str]] = frozenset(
        {
            "micro_batch",
            "checkpoint_every",
            "keep_checkpoints",
            "keep_every",
            "log_every",
            "step_timeout_seconds",
            "skip_nonfinite",
            "spike_threshold",
            "spike_window",
            "spike_rollbacks",
            "spike_skip",
            "suites",
            "suites_every",
        }
    )

    steps: int = Field(1000, gt=0, le=10**9)
    """Optimizer steps."""
    global_batch: int = Field(32, gt=0, le=10**8)
    """Sequences in one optimizer step, over all data-parallel ranks and accumulated micro batches."""
    ramp_up: RampUp | None = None
    """A smaller global batch that grows in the first steps; null has the whole one from the start."""
    micro_batch: int = Field(8, gt=0, le=10**8)
    """Sequences that one rank computes at once."""
    optimizer: Literal["adamw", "adafactor", "lamb", "muon"] = "adamw"
    """AdamW; Adafactor (T5); LAMB (BERT with large batches); Muon for the blocks' matrices, else AdamW."""
    learning_rate: float = Field(1e-3, gt=0.0, le=1e3)
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant", "inverse_sqrt", "wsd"] = "cosine"
    """How the rate goes on after its warm-up; wsd (warm-up, stable, decay) is constant and then linear."""
    minimum_learning_rate: float = Field(1e-4, ge=0.0)
    """Learning rate at the last step of cosine, linear and wsd."""
    warmup_steps: int = Field(50, ge=0)
    """Steps of linear warm-up from zero."""
    decay_steps: PositiveInt | None = None
    """Steps of wsd's decay; null is a tenth of all."""
    decay_from: PositiveInt | None = None
    """Step from which inverse_sqrt falls (T5: 10000, and no warm-up); null is warmup_steps."""
    weight_decay: float = Field(0.1, ge=0.0)
    """Decoupled weight decay of matrices; biases and norms have none. Adafactor has 0, LAMB 0.01."""
    beta1: float = Field(0.9, ge=0.0, lt=1.0)
    """Adam's and LAMB's decay of the gradient average."""
    beta2: float = Field(0.95, ge=0.0, lt=1.0)
    """Adam's and LAMB's decay of the squared gradient average; LAMB has 0.999."""
    epsilon: PositiveFloat = 1e-8
    """Adam's and LAMB's epsilon; LAMB has 1e-6."""
    parameter_scaling: bool = True
    """Whether Adafactor's steps are relative to each parameter's size, as T5's are."""
    rates: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Factors on the learning rate by pattern (* and ?) of parameters' names; the first that fits counts."""
    layer_decay: float = Field(1.0, gt=0.0, le=1.0)
    """Factor on the learning rate for each block between a layer and the head; embeddings have the most."""
    no_decay: list[str] = Field(default_factory=list)
    """Patterns of further parameters without weight decay."""
    freeze: list[str] = Field(default_factory=list)
    """Patterns of parameters that stay as they are, without gradients and optimizer states."""
    lora: LoRA | None = None
    """Low-rank adapters of linear layers, while all else stays as it is; null trains the layers."""
    average: float = Field(0.0, ge=0.0, lt=1.0)
    """Decay of an exponential moving average of the weights, kept beside them; 0 keeps none."""
    clip_gradient_norm: float = Field(1.0, ge=0.0)
    """Largest norm of the whole gradient; 0 does not clip, as with Adafactor."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of weights and activations; auto is bfloat16 on a GPU, else float32; float16 scales the loss."""
    validate_every: PositiveInt = 100
    """Steps between validations; the last step is always validated."""
    validation_samples: PositiveInt = 256
    """Validation samples per validation, always the same ones."""
    suites: list[str] = Field(default_factory=list)
    """Folders of task files, or single ones, put to the model as it learns; `exam` is its dataset's own."""
    suites_every: PositiveInt = 500
    """Steps between them; they are put to it after the last step too."""
    checkpoint_every: PositiveInt = 200
    """Steps between checkpoints; the last step is always saved."""
    keep_checkpoints: PositiveInt = 2
    """How many of the newest checkpoints stay."""
    keep_every: PositiveInt | None = None
    """Checkpoints of steps that this divides stay for good; null keeps the newest alone."""
    log_every: PositiveInt = 10
    """Steps between lines of progress; metrics are kept for every step."""
    step_timeout_seconds: PositiveFloat = 600.0
    """A step that takes longer ends the job with a report; start, validation and saving have 4 times it."""

    skip_nonfinite: int = Field(3, ge=0)
    """Steps in a row whose loss or gradient is not finite and that change nothing; one more ends the run."""
    spike_threshold: PositiveFloat | None = 8.0
    """A loss this many robust standard deviations above the recent median is a spike; null looks for none."""
    spike_window: PositiveInt = 100
    """How many recent losses that is measured by; there is no spike before there are as many."""
    spike_rollbacks: int = Field(0, ge=0)
    """How often a run goes back to the checkpoint before a spike; further spikes are only logged."""
    spike_skip: PositiveInt = 1
    """Batches that are then left out: that of the spike and those right before it."""

    @model_validator(mode="before")
    @classmethod
    def _published(cls, given: Any) -> Any:
        given = cls.with_new_names(given)
        if not isinstance(given, dict):
            return given
        return PUBLISHED.get(str(given.get("optimizer")), {}) | given

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        if self.ramp_up and self.global_batch % self.ramp_up.start:
            raise ValueError(
                f"global_batch {self.global_batch} is not divisible by ramp_up.start {self.ramp_up.start}"
            )
        if self.decay_steps and self.decay_steps > self.steps:
            raise ValueError(f"decay_steps {self.decay_steps} is more than steps {self.steps}")
        return self

    def accumulation(self, data_size: int, step: int | None = None) -> int:
        """Micro batches on each of `data_size` ranks in a step, or in one of the whole global batch.

        InputError where they do not divide evenly.
        """
        together = self.micro_batch * data_size
        sizes = {"global_batch": self.global_batch}
        if self.ramp_up:
            sizes["ramp_up.start"] = self.ramp_up.start
        for name, size in sizes.items():
            if size % together:
                raise InputError(
                    f"{name} {size} is not divisible by micro_batch {self.micro_batch} x "
                    f"data parallel size {data_size}"
                )
        return (self.global_batch if step is None else self.batch_at(step)) // together

    def batch_at(self, step: int) -> int:
        """Sequences in the global batch of a step, counted from 0."""
        return self.ramp_up.batch(step, self.global_batch) if self.ramp_up else self.global_batch

    def samples_before(self, step: int) -> int:
        """Sequences in all steps before one: where in the endless order its first one stands."""
        if self.ramp_up is None:
            return step * self.global_batch
        return self.ramp_up.samples_before(step, self.global_batch)


class TrainConfig(OptimizerConfig):
    """Pretraining."""

    # What lies there counts, not its name.
    not_in_fingerprint: ClassVar[frozenset[str]] = OptimizerConfig.not_in_fingerprint | {"start_from"}

    start_from: Path | None = None
    """A run, imported or trained here, or one of its checkpoints, whose weights to start with; it gives the
    keys of model and objective that the recipe leaves out. null draws the weights."""


class TuneConfig(OptimizerConfig):
    """Instruction tuning."""

    later: ClassVar[frozenset[str]] = OptimizerConfig.later | {"pack"}

    enabled: bool = True
    """Whether `bloomery run` tunes the pretrained model; an encoder, which cannot answer, it never does."""
    data: list[Path] = Field(default_factory=list)
    """JSONL files of instruction/input/output or of chat messages; empty takes the pairs in the dataset."""
    pack: bool = False
    """Whether conversations share a row where they fit; each sees itself alone, and batches count rows."""
