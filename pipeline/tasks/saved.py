"""The file in the folder of a fine-tuned run that says what it was tuned for.

task.json    {"schema": 1, "task": {"kind": "classification", ...}, "learned": {"labels": {...}}}
"""

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from data_prep.contract.reading import read_json
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.tasks.registry import AnyTask, task_of
from pipeline.tasks.settings import TaskSettings
from pipeline.tasks.task import Learned, Task

TASK = "task.json"
SCHEMA = 1


def written(settings: TaskSettings, learned: Learned) -> str:
    """The file's content."""
    content = {"schema": SCHEMA, "task": settings.model_dump(mode="json"), "learned": learned}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def task_in(run: Path, config: PipelineConfig, vocabulary: Vocabulary) -> Task | None:
    """What a run was tuned for; None where it was not."""
    return read_task(run, config, vocabulary) if (run / TASK).is_file() else None


def read_task(run: Path, config: PipelineConfig, vocabulary: Vocabulary) -> Task:
    """What a run was tuned for. `InputError` where it was not, or the file is not as it should be."""
    path = run / TASK
    if not path.is_file():
        raise InputError(f"{run}: no fine-tuned run (no {TASK}); `bloomery finetune` makes one")
    content = read_json(path)
    try:
        if content["schema"] != SCHEMA:
            raise InputError(f"{path}: schema {content['schema']!r}; {SCHEMA} is read")
        settings = TypeAdapter(AnyTask).validate_python(content["task"])
        return task_of(settings, dict(content["learned"]), config, vocabulary)
    except (KeyError, TypeError, ValidationError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        problem = str(error).splitlines()[0]
        raise InputError(f"{path}: not what a fine-tuned run says of its task ({problem})") from None
