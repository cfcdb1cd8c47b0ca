"""What clients of OpenAI's API send: chat completions and completions, checked.

`top_k` is ours, as in other servers. What would change an answer and is not there is refused, and so is a key
that nobody knows; what says nothing of the answer, such as `user`, is taken and left alone.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from data_prep.contract.names import printable
from data_prep.contract.settings import InputError
from launch.serving.limits import CHOICES, LIKELIEST, STOP_LENGTH, STOPS
from pipeline.generation.sampling import Sampling
from pipeline.preferences.rankings import prompt_of
from pipeline.prompting.chat import Message

Nothing = Annotated[float | None, Field(ge=0, le=0)]
"""A setting that is there for clients that always send it, with the value that changes nothing."""
Stop = Annotated[str, Field(min_length=1, max_length=STOP_LENGTH)]


class Wire(BaseModel):
    """A JSON object of the right types, without others' keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class StreamOptions(Wire):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class TextPart(Wire):
    type: Literal["text"]
    text: str


class ChatMessage(Wire):
    role: Literal["system", "developer", "user", "assistant"]
    content: list[TextPart]
    name: str | None = None
    refusal: None = None

    @field_validator("content", mode="before")
    @classmethod
    def _as_parts(cls, content: Any) -> Any:
        return [{"type": "text", "text": content}] if isinstance(content, str) else content

    def plain(self) -> dict[str, str]:
        """As a row of instructions has it."""
        content = "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": content}


class Asked(Wire):
    """What both kinds of requests have."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    top_k: Annotated[int | None, Field(ge=0)] = None
    n: Annotated[int | None, Field(ge=1, le=CHOICES)] = None
    seed: Annotated[int | None, Field(ge=0, lt=1 << 63)] = None
    stop: Annotated[list[Stop] | None, Field(max_length=STOPS)] = None
    """Texts that end an answer."""
    frequency_penalty: Nothing = None
    presence_penalty: Nothing = None
    logit_bias: Annotated[dict[str, float] | None, Field(max_length=0)] = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with what was used."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self, seed: int) -> Sampling:
        """How ids are drawn, by the seed that is asked for or else this one."""
        return Sampling(
            1.0 if self.temperature is None else self.temperature,
            self.top_k or 0,
            1.0 if self.top_p is None else self.top_p,
            seed if self.seed is None else self.seed,
        )

    @field_validator("stop", mode="before")
    @classmethod
    def _several_stops(cls, stop: Any) -> Any:
        return [stop] if isinstance(stop, str) else stop

    @model_validator(mode="after")
    def _options_of_streams(self) -> "Asked":
        if self.stream_options and not self.stream:
            raise ValueError("stream_options are for requests with stream: true")
        return self


class TextFormat(Wire):
    type: Literal["text"]


class ChatAsked(Asked):
    """POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int | None, Field(ge=0, le=LIKELIEST)] = None
    store: bool | None = None
    service_tier: Literal["auto", "default"] | None = None
    response_format: TextFormat | None = None
    tools: Annotated[list[Any] | None, Field(max_length=0)] = None

    @property
    def conversation(self) -> tuple[Message, ...]:
        """The messages. `InputError` where there is nothing to answer."""
        return prompt_of([one.plain() for one in self.messages], "messages")

    @property
    def most(self) -> int | None:
        """Most ids of an answer, where that is said."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def likeliest(self) -> int | None:
        """How many log-probabilities are asked for beside those of the answer; None for not even those."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @model_validator(mode="after")
    def _log_probabilities(self) -> "ChatAsked":
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs are for requests with logprobs: true")
        return self


class TextAsked(Asked):
    """POST /v1/completions."""

    prompt: Annotated[list[str | list[int]], Field(min_length=1)]
    """Texts to go on with, or their ids."""
    logprobs: Annotated[int | None, Field(ge=0, le=LIKELIEST)] = None
    echo: bool | None = None
    best_of: int | None = None
    suffix: Literal[""] | None = None

    @field_validator("prompt", mode="before")
    @classmethod
    def _several_prompts(cls, prompt: Any) -> Any:
        """One or several, each a text or ids."""
        if isinstance(prompt, str):
            return [prompt]
        several = prompt if isinstance(prompt, list) and not _ids(prompt) else [prompt]
        if not several or not all(isinstance(one, str) or (one and _ids(one)) for one in several):
            raise ValueError("a text, a list of texts, a list of ids or a list of such lists is expected")
        return several

    @model_validator(mode="after")
    def _what_is_not_there(self) -> "TextAsked":
        if self.best_of not in (None, self.n or 1):
            raise ValueError("best_of is no more than n here; ask for n answers and take one")
        if self.echo and self.logprobs is not None:
            raise ValueError("the log-probabilities of a prompt are not told; leave out echo or logprobs")
        if len(self.prompt) * (self.n or 1) > CHOICES:
            raise ValueError(f"{len(self.prompt)} prompts with n = {self.n or 1}; at most {CHOICES} answers")
        return self

    @property
    def most(self) -> int | None:
        """Most ids of an answer, where that is said."""
        return self.max_tokens

    @property
    def likeliest(self) -> int | None:
        """How many log-probabilities are asked for beside those of the answer; None for not even those."""
        return self.logprobs


def _ids(value: Any) -> bool:
    """Whether something is a list of whole numbers."""
    return isinstance(value, list) and all(type(one) is int for one in value)


class WrongRequestError(InputError):
    """A request that is none: what is wrong, and with which of its keys."""

    def __init__(self, words: str, param: str | None) -> None:
        super().__init__(words)
        self.param = param


Shape = TypeVar("Shape", bound=Wire)


def read(shape: type[Shape], value: Any) -> Shape:
    """A JSON value of a shape. `WrongRequestError` says what is wrong with one that is not."""
    if not isinstance(value, dict):
        raise WrongRequestError(f"a JSON object is expected, not {type(value).__name__}", None)
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = printable(".".join(str(part) for part in problem["loc"]))[:200]
        words = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            words = "is no key that this server knows"
        raise WrongRequestError(f"{place}: {words}" if place else words, place or None) from None
