"""What generation asks of a model, and how a batch of prompts begins."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.objectives.registry import objective_of

Prompts = Sequence[Sequence[int]]


class Session(Protocol):
    """Rows that go on together, as `pipeline.generation.session.Session` has them."""

    @property
    def full(self) -> bool:
        """Whether there is no room for another token."""
        ...

    def start(self, rows: Prompts, room: int) -> Any:
        """Logits [B, V] of what follows each row; V may exceed the vocabulary's size."""
        ...

    def step(self, tokens_B: Any) -> Any:
        """The same after one more token in every row."""
        ...

    def select(self, rows: Any) -> None:
        """Go on with these rows, in this order."""
        ...

    def reorder(self, rows: Any) -> None:
        """The same where each row is replaced by one that started as it did."""
        ...

    def join(self, others: Any, room: int) -> None:
        """Go on with the rows of other sessions, too, behind these; with room for so many more tokens."""
        ...


class GenerativeModel(Protocol):
    """What generation asks of a model, as `pipeline.generation.load.load_model` gives it."""

    @property
    def config(self) -> PipelineConfig:
        """The resolved configuration of the run."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """The run's tokenizer."""
        ...

    def session(self, sources: Prompts | None = None, /) -> Session:
        """A batch that a decoder goes on with, behind an encoder that reads `sources`."""
        ...


def has_encoder(model: GenerativeModel) -> bool:
    """Whether a prompt is what an encoder reads, and not what a decoder goes on with."""
    return model.config.model.architecture == "encoder_decoder"


def begin(model: GenerativeModel, prompts: Prompts, room: int) -> tuple[Session, list[list[int]], Tensor]:
    """A session, what its rows are so far, and the logits [B, V] of what follows each.

    A prompt is what a decoder goes on with or what an encoder reads; a decoder behind an encoder begins with
    its start token and what all its texts are made to begin with. `InputError` where an encoder's prompt is
    too long for it.
    """
    rows = [first_row(model, prompt) for prompt in prompts]
    session = model.session(prompts if has_encoder(model) else None)
    return session, rows, session.start([window(row, model.config.context_length) for row in rows], room)


def first_row(model: GenerativeModel, prompt: Sequence[int]) -> list[int]:
    """What a decoder goes on with: the prompt, or what its texts behind an encoder begin with.

    `InputError` where the prompt is too long for an encoder.
    """
    assert len(prompt) > 0
    if not has_encoder(model):
        return [int(token) for token in prompt]
    longest = model.config.context_length
    if len(prompt) > longest:
        raise InputError(f"a prompt of {len(prompt)} tokens; the model's encoder reads at most {longest}")
    first = [objective_of(model.config.objective).decoder_start(model.vocabulary)]
    return first if model.vocabulary.forced is None else [*first, model.vocabulary.forced]


def window(row: list[int], longest: int) -> list[int]:
    """What a decoder that sees at most `longest` ids sees of a row.

    All of it while it fits. Then the start moves on by half of `longest` at a time, for every move costs a
    reading of the whole window: positions count from its start. It depends on the row's length alone.
    """
    hop = max(1, longest // 2)
    hops = -(-max(0, len(row) - longest) // hop)
    return row[hops * hop :]
