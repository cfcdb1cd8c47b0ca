"""The pipeline's sections of a recipe. `launch` adds those of data preparation and reads the YAML."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from data_prep.contract.settings import InputError, Settings
from pipeline.models.config import ModelConfig

NoiseKind = Literal["mask", "delete", "infill", "permute_sentences", "rotate"]


class ObjectiveConfig(Settings):
    kind: Literal["causal_lm", "prefix_lm", "masked_lm", "span_corruption", "denoising"] = "causal_lm"
    """What the model learns to predict: GPT's next token, with a prefix seen whole, BERT, T5, BART."""
    noise_density: float | None = Field(None, gt=0.0, lt=1.0)
    """Share of tokens that is hidden; null is 0.15, and 0.3 of the words for denoising, as published."""
    mean_span: float = Field(3.0, ge=1.0)
    """Mean length of hidden spans: tokens in span_corruption, words in denoising's infilling."""
    closing_sentinel: bool = False
    """Whether span_corruption targets end with one more sentinel: the paper's figure, not its code."""
    masking: Literal["token", "whole_word", "span"] = "token"
    """What masked_lm hides together: single tokens, whole words, or SpanBERT's spans of words."""
    static_masks: bool = False
    """Whether every epoch has the same samples with the same noise (BERT), or new ones (RoBERTa)."""
    sentence_task: Literal["none", "next_sentence", "sentence_order"] = "none"
    """masked_lm's second task: BERT's next sentence, or ALBERT's sentence order."""
    noises: tuple[NoiseKind, ...] = ("permute_sentences", "infill")
    """What denoising does to the text, in this order; the default is BART's choice."""

    @property
    def density(self) -> float:
        """The share of tokens or words that is hidden."""
        return self.noise_density or (0.3 if self.kind == "denoising" else 0.15)


class MixtureEntry(Settings):
    dataset: str
    """Folder of another dataset, or its address (s3://bucket/folder); it must have the same tokenizer."""
    weight: PositiveFloat = 1.0
    """Share of the samples, relative to data.weight and the other entries."""
    max_epochs: PositiveFloat | None = None
    """A run that would read the dataset more often than this is refused; null allows any number."""


class DataConfig(Settings):
    how = frozenset({"prefetch", "workers", "cache", "cache_bytes"})

    sequence_length: PositiveInt = 256
    """Tokens in one sample; with an encoder and a decoder, those of the encoder."""
    packing: Literal["joined", "best_fit"] = "joined"
    """How documents fill samples: joined and cut wherever a sample is full, or kept whole where they fit."""
    attention: Literal["across_documents", "inside_documents"] = "across_documents"
    """Whether a token sees the other documents of its sample; inside_documents also restarts positions."""
    shuffle_window: PositiveInt = 4096
    """Samples that are shuffled together; a window of them is held in memory."""
    corrupt_blocks: Literal["error", "skip"] = "error"
    """What a block with a wrong checksum does: end the run, or be left out and counted."""
    weight: PositiveFloat = 1.0
    """Share of the samples that comes from the recipe's own dataset, relative to the mixture's weights."""
    max_epochs: PositiveFloat | None = None
    """A run that would read the recipe's own dataset more often is refused; null allows any number."""
    mixture: list[MixtureEntry] = Field(default_factory=list)
    """Further datasets to train on. Validation is on the recipe's own."""
    prefetch: int = Field(2, ge=0)
    """Optimizer steps whose batches are made ahead in the background; 0 makes each when it is asked for."""
    workers: int = Field(0, ge=0)
    """Processes that make batches; 0 is a thread, enough for all but the costliest noise."""
    cache: Path | None = None
    """Folder for blocks of remote datasets; null is ~/.cache/bloomery/blocks. Shared by processes."""
    cache_bytes: PositiveInt = 20_000_000_000
    """Largest size of that folder; the blocks that were used longest ago go first."""

    def check_objective(self, objective: ObjectiveConfig) -> None:
        """ValueError where an objective and the form of its samples do not go together."""
        if self.attention == "inside_documents" and objective.kind != "causal_lm":
            raise ValueError(
                f"data.attention inside_documents does not go with objective.kind {objective.kind}; "
                "causal_lm does"
            )
        if objective.sentence_task != "none" and objective.kind != "masked_lm":
            raise ValueError(
                f"objective.sentence_task {objective.sentence_task} does not go with objective.kind "
                f"{objective.kind}; masked_lm does"
            )
        if objective.kind != "causal_lm" and self.sequence_length < 8:
            raise ValueError(
                f"data.sequence_length {self.sequence_length} leaves no room for {objective.kind}; 8 does"
            )


class ParallelConfig(Settings):
    tensor: PositiveInt = 1
    """Tensor parallel size: processes that share each layer's matrices."""
    pipeline: PositiveInt = 1
    """Pipeline parallel size: stages that the layers are split over."""
    data: PositiveInt | None = None
    """Data parallel size; null takes what the other two leave of the processes there are."""
    sequence: bool = False
    """Sequence parallelism: tensor-parallel ranks share the sequence where they do not share matrices."""
    zero_stage: int = Field(1, ge=0, le=3)
    """ZeRO stage: 1 shards optimizer states over data-parallel ranks, 2 gradients too, 3 parameters too."""
    recompute: Literal["none", "selective", "full"] = "none"
    """What is computed again in the backward pass to save memory: nothing, attention scores, whole layers."""
    offload: bool = False
    """Whether optimizer states and steps are on the host's memory and processor."""
    compile: bool = False
    """Whether each transformer layer is compiled by torch.compile."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.pipeline > 1 and self.zero_stage > 1:
            raise ValueError(f"zero_stage {self.zero_stage} does not go with pipeline stages; 0 or 1 does")
        if self.offload and (self.zero_stage == 0 or self.pipeline > 1):
            raise ValueError("offload needs zero_stage 1 or more and no pipeline stages")
        if self.sequence and self.tensor == 1:
            raise ValueError("sequence shares the sequence over tensor ranks; it needs tensor 2 or more")
        return self

    def data_size(self, processes: int) -> int:
        """Data parallel size in a world of `processes`; InputError where the sizes do not multiply to it."""
        model = self.tensor * self.pipeline
        data = self.data or max(1, processes // model)
        if data * model != processes:
            raise InputError(
                f"parallel: tensor {self.tensor} x pipeline {self.pipeline} x data {data} is "
                f"{data * model} processes, but {processes} were started"
            )
        return data


class OptimizerConfig(Settings):
    """AdamW with a linear warm-up and a cosine decay; shared by pretraining and tuning."""

    how: ClassVar[frozenset[str]] = frozenset(
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
        }
    )

    steps: PositiveInt = 1000
    """Optimizer steps."""
    global_batch: PositiveInt = 32
    """Sequences in one optimizer step, over all data-parallel ranks and accumulated micro batches."""
    micro_batch: PositiveInt = 8
    """Sequences that one rank computes at once."""
    learning_rate: PositiveFloat = 1e-3
    """Peak learning rate."""
    minimum_learning_rate: float = Field(1e-4, ge=0.0)
    """Learning rate at the last step."""
    warmup_steps: int = Field(50, ge=0)
    """Steps of linear warm-up from zero."""
    weight_decay: float = Field(0.1, ge=0.0)
    """Decoupled weight decay of matrices; biases and norms have none."""
    beta1: float = Field(0.9, ge=0.0, lt=1.0)
    """Adam's decay of the gradient average."""
    beta2: float = Field(0.95, ge=0.0, lt=1.0)
    """Adam's decay of the squared gradient average."""
    epsilon: PositiveFloat = 1e-8
    """Adam's epsilon."""
    clip: float = Field(1.0, ge=0.0)
    """Largest norm of the whole gradient; 0 does not clip."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of weights and activations; auto is bfloat16 on a GPU, else float32; float16 scales the loss."""
    validate_every: PositiveInt = 100
    """Steps between validations; the last step is always validated."""
    validation_samples: PositiveInt = 256
    """Validation samples per validation, always the same ones."""
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

    def accumulation(self, data_size: int) -> int:
        """Micro batches per step on each of `data_size` ranks; InputError where they do not divide evenly."""
        together = self.micro_batch * data_size
        if self.global_batch % together:
            raise InputError(
                f"global_batch {self.global_batch} is not divisible by micro_batch {self.micro_batch} x "
                f"data parallel size {data_size}"
            )
        return self.global_batch // together


class TrainConfig(OptimizerConfig):
    """Pretraining."""

    how: ClassVar[frozenset[str]] = OptimizerConfig.how | {"start_from"}  # what is there counts, not its name

    start_from: Path | None = None
    """A run, imported or trained here, or one of its checkpoints, whose weights to start with; it gives the
    keys of model and objective that the recipe leaves out. null draws the weights."""


class TuneConfig(OptimizerConfig):
    """Instruction tuning."""

    enabled: bool = True
    """Whether `bloomery run` tunes the pretrained model; an encoder, which cannot answer, it never does."""
    data: list[Path] = Field(default_factory=list)
    """JSONL files of instruction/input/output or of chat messages; empty takes the pairs in the dataset."""


class EvalConfig(Settings):
    shots: list[NonNegativeInt] = Field(default_factory=lambda: [0, 1, 4], min_length=1)
    """Numbers of examples before each question of the multiple-choice task."""
    validation_tokens: PositiveInt = 32_768
    """About how many validation tokens the loss is measured on, in windows chosen by the seed."""
    questions: PositiveInt = 100
    """Largest number of questions."""
    choices: int = Field(4, ge=2)
    """Answers to choose from."""
    prompts: list[str] = Field(default_factory=list)
    """Prompts to continue; empty takes a few from the validation split."""
    generated_tokens: PositiveInt = 64
    """Tokens per generation."""


class TrackingConfig(Settings):
    experiment: str = "bloomery"
    """MLflow experiment."""
    enabled: bool = True
    """Whether anything is sent to MLflow; metrics.jsonl is always written."""
    system_every: float = Field(10.0, ge=0.0)
    """Seconds between samples of processor, memory, disk, network and GPUs while training; 0 takes none."""


OBJECTIVES: dict[str, tuple[str, ...]] = {
    "decoder": ("causal_lm", "prefix_lm"),
    "encoder": ("masked_lm",),
    "encoder_decoder": ("span_corruption", "denoising"),
}
"""What each architecture can be trained on."""


class PipelineConfig(Settings):
    name: str
    """Name of the recipe: the default work folder and the MLflow parent run are called by it."""
    seed: int = Field(1234, ge=0)
    """Seed of every random choice."""
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    data: DataConfig = DataConfig()
    parallel: ParallelConfig = ParallelConfig()
    train: TrainConfig = TrainConfig()
    tune: TuneConfig = TuneConfig()
    eval: EvalConfig = EvalConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self.data.check_objective(self.objective)
        self._objective_fits_model()
        self._layout_fits_model()
        if self.model.max_positions and self.model.max_positions < self.data.sequence_length:
            raise ValueError(
                f"model.max_positions {self.model.max_positions} is less than "
                f"data.sequence_length {self.data.sequence_length}"
            )
        return self

    def _objective_fits_model(self) -> None:
        kinds = OBJECTIVES[self.model.architecture]
        if self.objective.kind not in kinds:
            raise ValueError(
                f"objective.kind {self.objective.kind} does not train a model.architecture "
                f"{self.model.architecture}; {' or '.join(kinds)} does"
            )

    def _layout_fits_model(self) -> None:
        model, tensor = self.model, self.parallel.tensor
        split = {"model.heads": model.heads, "model.feed_forward_size": model.mlp_size}
        if model.key_value_heads > 1:
            split["model.query_groups"] = model.key_value_heads
        if self.parallel.sequence:
            split["data.sequence_length"] = self.data.sequence_length
        for key, value in split.items():
            if value % tensor:
                raise ValueError(f"{key} {value} is not divisible by parallel.tensor {tensor}")
        if model.layers + model.encoder_depth < self.parallel.pipeline:
            raise ValueError(
                f"model.layers {model.layers} is fewer than parallel.pipeline {self.parallel.pipeline}"
            )

    @property
    def can_answer(self) -> bool:
        """Whether the model says something in return, which instructions could teach it."""
        return self.model.architecture != "encoder"

    @property
    def position_table(self) -> int:
        """Length of the table of learned positions."""
        return self.model.max_positions or self.data.sequence_length
