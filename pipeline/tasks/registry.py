"""Every task by the word that a recipe gives it. A new one is a file, and a line in each of the two lists."""

from typing import Annotated

from pydantic import Field

from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.tasks.answers import AnswersSettings, QuestionAnswering
from pipeline.tasks.choice import ChoiceSettings, MultipleChoice
from pipeline.tasks.classification import Classification, ClassificationSettings
from pipeline.tasks.regression import Regression, RegressionSettings
from pipeline.tasks.settings import TaskSettings
from pipeline.tasks.tagging import Tagging, TaggingSettings
from pipeline.tasks.task import Learned, Task
from pipeline.tasks.text import TextSettings, TextToText

KINDS: tuple[type[Task], ...] = (
    Classification,
    Regression,
    Tagging,
    QuestionAnswering,
    MultipleChoice,
    TextToText,
)
TASKS = {one.name: one for one in KINDS}

AnyTask = Annotated[
    ClassificationSettings
    | RegressionSettings
    | TaggingSettings
    | AnswersSettings
    | ChoiceSettings
    | TextSettings,
    Field(discriminator="kind"),
]
"""The `task` of a stage."""


def class_of(settings: TaskSettings) -> type[Task]:
    """The class of a task's settings."""
    return next(one for one in TASKS.values() if one.settings_class is type(settings))


def task_of(settings: TaskSettings, learned: Learned, config: PipelineConfig, vocabulary: Vocabulary) -> Task:
    """The task of a stage, for a model and its tokenizer. `InputError` where they do not go together."""
    return class_of(settings)(settings, learned, config, vocabulary)
