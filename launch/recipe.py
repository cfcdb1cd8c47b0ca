"""Recipes: one YAML file for all stages, with `--set key=value` on top.

Paths in a recipe are relative to the recipe's folder, those given with `--set` to the folder one stands in.
Everything that is wrong is one `InputError` sentence: the file, the key, the value, what would be right.
"""

import reprlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, PrivateAttr, ValidationError, field_validator

from data_prep.config import CorpusConfig, TokenizerConfig
from data_prep.contract.problems import Problem, did_you_mean, first_problem
from data_prep.contract.reading import plain_name, printable, read_yaml, without_password
from data_prep.contract.settings import InputError, Settings
from data_prep.images.config import ImagesConfig
from launch.settings import SuperviseConfig
from pipeline.config import (
    ConstitutionConfig,
    DataConfig,
    EvalConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    ParallelConfig,
    PipelineConfig,
    StudyConfig,
    TrackingConfig,
    TrainConfig,
    TuneConfig,
    VisionConfig,
)

PATHS = (
    ("corpus", "paths"),
    ("images", "paths"),
    ("images", "validation_paths"),
    ("images", "rules", "scores"),
    ("corpus", "filters", "url", "blocklist"),
    ("corpus", "filters", "c4", "bad_words"),
    ("corpus", "decontaminate", "paths"),
    ("data", "cache"),
    ("tokenizer", "model"),
    ("study", "data"),
    ("train", "start_from"),
    ("tune", "data"),
)
LONGEST = 100
"""Characters of a value in a sentence."""
REFERENCES = {"from", "data", "validation", "test", "of"}
"""Keys of a stage that name what it reads, by a stage's name or a path."""


class Recipe(Settings):
    """The sections of a recipe; those that several stages share are what their own keys lie over."""

    name: str
    """Name of the recipe: the default work folder and the MLflow parent run are called by it."""
    seed: int = Field(1234, ge=0, lt=1 << 63)
    """Seed of every random choice."""
    corpus: CorpusConfig = CorpusConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    images: ImagesConfig = ImagesConfig()
    model: ModelConfig = ModelConfig()
    vision: VisionConfig = VisionConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    data: DataConfig = DataConfig()
    parallel: ParallelConfig = ParallelConfig()
    train: TrainConfig = TrainConfig()
    tune: TuneConfig = TuneConfig()
    eval: EvalConfig = EvalConfig()
    constitution: ConstitutionConfig = ConstitutionConfig()
    tracking: TrackingConfig = TrackingConfig()
    supervise: SuperviseConfig = SuperviseConfig()
    study: StudyConfig | None = None
    """A grid of trainings for `bloomery scale`; its stages are made of it, and not named."""
    stages: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """The stages by name, each with its `kind`, its inputs and its own keys; left out they are the usual
    four: prep, pretrain, instruct, evaluate."""

    @field_validator("name")
    @classmethod
    def _is_plain(cls, name: str) -> str:
        if "/" in plain_name(name, ""):
            raise ValueError("a folder is called by it, so it has no slash")
        return name

    _path: Path = PrivateAttr(default=Path())
    _plain: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def path(self) -> Path:
        """The recipe's file."""
        return self._path

    @property
    def plain(self) -> dict[str, Any]:
        """What the file and the overrides say, and nothing else."""
        return self._plain or self.model_dump(mode="json", exclude_unset=True)

    @property
    def can_answer(self) -> bool:
        """Whether the recipe's model says something in return, which instructions could teach it."""
        return self.model.architecture != "encoder"

    def pipeline(self) -> PipelineConfig:
        """What pretraining on text is given. A ValidationError where the sections do not go together."""
        names = PipelineConfig.model_fields.keys() - {"vision"}
        return PipelineConfig(**{name: getattr(self, name) for name in names})


def load(path: Path, overrides: Iterable[str] = (), quiet: bool = False) -> Recipe:
    """Read a recipe and lay the overrides over it; `quiet` where another process says what is old in it."""
    plain = _read(path)
    _resolve(plain, path.parent)
    for override in overrides:
        key, value = _parse(override)
        here: dict[str, Any] = {}
        _put(here, key, value)
        _resolve(here, Path.cwd())
        plain = merged(plain, here)
    plain.setdefault("name", path.stem)
    lines = take_old_names(plain)
    if not quiet:
        print(*(f"{path}: {line}\n" for line in lines), sep="", end="", file=sys.stderr)
    _inherit(plain)
    recipe = validated(Recipe, plain, path)
    recipe._path, recipe._plain = path, plain
    if not recipe.stages:
        with told_of(path):
            recipe.pipeline()
    return recipe


def take_old_names(plain: dict[str, Any]) -> list[str]:
    """Give keys that have another name by now that name; returns a line for each."""
    sections = {name: field.annotation for name, field in Recipe.model_fields.items()}
    places = [(name, plain, name, sections[name]) for name in plain.keys() & sections.keys()]
    stages = _section(plain, ["stages"])
    for name in stages:
        stage = _section(stages, [name])
        places.append((f"stages.{name}", stages, name, OptimizerConfig))
        places += [
            (f"stages.{name}.{key}", stage, key, sections[key]) for key in stage.keys() & sections.keys()
        ]
    lines = []
    for place, holder, key, section in places:
        given = holder[key]
        if not (isinstance(given, dict) and isinstance(section, type) and issubclass(section, Settings)):
            continue
        found = [old for old in section.renamed if old in given]
        lines += [f"{place}.{old} is called {place}.{section.renamed[old]} now" for old in found]
        with suppress(ValueError):  # both names at once, which is refused when the section is read
            holder[key] = section.with_new_names(given)
    return lines


Section = TypeVar("Section", bound=BaseModel)


def validated(section: type[Section], plain: Any, path: Path, prefix: str = "") -> Section:
    """A section of a recipe from plain values; `prefix` is the key that it stands under."""
    with told_of(path, prefix, section):
        return section.model_validate(plain)


@contextmanager
def told_of(path: Path, prefix: str = "", section: type[BaseModel] = Recipe) -> Iterator[None]:
    """What does not fit in a section becomes one sentence."""
    try:
        yield
    except ValidationError as error:
        raise InputError(_sentence(path, error, prefix, section)) from error


def _read(path: Path) -> dict[str, Any]:
    plain = read_yaml(path)
    if not isinstance(plain, dict):
        raise InputError(f"{path}: a recipe is a mapping of sections such as model and train")
    return plain


def _parse(override: str) -> tuple[list[str], Any]:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise InputError(
            f"--set {printable(override)[:LONGEST]}: key=value is expected, such as train.steps=200"
        )
    try:
        return key.strip().split("."), read_yaml(text, "the value")
    except InputError as error:
        raise InputError(f"--set {key[:LONGEST]}: {shown(text)} is not a YAML value ({error})") from None


def _put(plain: dict[str, Any], key: list[str], value: Any) -> None:
    for name in key[:-1]:
        plain = plain.setdefault(name, {})
    plain[key[-1]] = value


def merged(plain: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings with those of `over` on top.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    found = dict(plain)
    for name, value in over.items():
        below = found.get(name)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        found[name] = merged(below, value) if both else value  # type: ignore[arg-type]
    return found


def _inherit(plain: dict[str, Any]) -> None:
    """Take what the recipe leaves out of model and objective from the run that it starts from."""
    start = _section(plain, ["train"]).get("start_from")
    if not isinstance(start, str):
        return
    from data_prep.contract.stages import Source
    from pipeline.stages.training import find_start, inherited

    _, run = find_start(Source(f"train.start_from {start}", start))
    for name, theirs in inherited(run).items():
        given = plain.get(name) or {}
        if isinstance(given, dict) and "preset" not in given:
            plain[name] = theirs | given


def _resolve(plain: dict[str, Any], folder: Path) -> None:
    """Make the recipe's paths absolute; addresses such as s3://... stay."""
    stages = _section(plain, ["stages"])
    for name in stages:
        stage = _section(stages, [name])
        for key in REFERENCES & stage.keys():
            stage[key] = _reference(stage[key], folder)
    for *sections, name in PATHS:
        holder = _section(plain, sections)
        value = holder.get(name)
        if isinstance(value, list):
            holder[name] = [_absolute(item, folder) for item in value]
        elif value:
            holder[name] = _absolute(value, folder)
    mixture = _section(plain, ["data"]).get("mixture")
    for entry in mixture if isinstance(mixture, list) else ():
        if isinstance(entry, dict) and "dataset" in entry:
            entry["dataset"] = _absolute(entry["dataset"], folder)


def _reference(value: Any, folder: Path) -> Any:
    """What a stage reads: a path where it looks like one, else perhaps a stage's name."""
    if isinstance(value, list):
        return [_reference(one, folder) for one in value]
    if isinstance(value, dict):
        return {name: _reference(one, folder) for name, one in value.items()}
    return _absolute(value, folder) if isinstance(value, str) and "/" in value else value


def _section(plain: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """A section that is there, or an empty one; what is not a section is refused later, with its name."""
    for name in names:
        found = plain.get(name)
        if not isinstance(found, dict):
            return {}
        plain = found
    return plain


def _absolute(value: Any, folder: Path) -> Any:
    if not isinstance(value, str) or "://" in value:
        return value
    return str(folder.resolve() / Path(value).expanduser())


def _sentence(path: Path, error: ValidationError, prefix: str, section: type[BaseModel]) -> str:
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{path}: {_problem(first_problem(error), prefix, section)}{more}"


def _problem(problem: Problem, prefix: str, section: type[BaseModel]) -> str:
    key = ".".join(filter(None, (prefix, problem.key))) or "the recipe"
    if problem.kind == "extra_forbidden":
        return f"{key}: no such key{_suggestion(problem.place, prefix, section)}"
    message = problem.message.removeprefix("Input ")
    if problem.kind == "value_error":
        return f"{key}: {message}" if problem.key or prefix else message
    return f"{key} is {shown(problem.value)}; it {message}"


def shown(value: Any) -> str:
    """A value in a sentence: its beginning, and nothing that moves a terminal's cursor."""
    text = printable(without_password(value if isinstance(value, str) else reprlib.repr(value)))
    text = repr(text) if isinstance(value, str) else text
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _suggestion(location: tuple[str, ...], prefix: str, section: Any) -> str:
    for name in location[:-1]:
        field = section.model_fields.get(name)
        section = field.annotation if field else None
        if not (isinstance(section, type) and issubclass(section, BaseModel)):
            return ""
    before = "".join(f"{name}." for name in (prefix, *location[:-1]) if name)
    near = did_you_mean(location[-1], section.model_fields, before)
    return near or f"; the keys here are {', '.join(section.model_fields)}"
