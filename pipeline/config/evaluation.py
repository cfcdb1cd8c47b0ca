"""The recipe's `eval` section: what trained models are asked."""

from pydantic import Field, NonNegativeInt, PositiveInt

from data_prep.contract.settings import Settings


class EvalConfig(Settings):
    not_in_fingerprint = frozenset({"processes"})

    validation_tokens: PositiveInt = 32_768
    """About how many validation tokens the loss is measured on, in windows chosen by the seed."""
    exam: bool = True
    """Whether models take the exam that is made of the validation split (`pipeline/evaluation/exam`)."""
    questions: PositiveInt = 100
    """Largest number of questions of each of its tasks."""
    shots: list[NonNegativeInt] = Field(default_factory=lambda: [0, 1, 4], min_length=1)
    """Numbers of examples before each question of the task that has responses to choose from."""
    choices: int = Field(4, ge=2)
    """Responses to choose from."""
    suites: list[str] = Field(default_factory=list)
    """Folders of task files, or single ones, to put to the models (`pipeline/evaluation/tasks`)."""
    prompts: list[str] = Field(default_factory=list)
    """Prompts to continue; empty takes a few from the validation split."""
    generated_tokens: PositiveInt = 64
    """Tokens per generation."""
    processes: PositiveInt | None = None
    """Processes that hold a model each and are put a share of the suites' questions; null has one a GPU."""
