"""A recipe's stages as a graph: what each reads, in an order in which it comes after that.

    stages:
      dataset:  {kind: prep}
      base:     {kind: pretrain, data: dataset, steps: 1000}
      chat:     {kind: instruct, from: base, data: [pairs.jsonl]}
      report:   {kind: evaluate, of: [base, chat], data: dataset}

What a stage reads is another stage by its name, or something that is there already by its path. A stage's
keys lie over the recipe's sections; `data` may be a mapping of its own keys and `from`. Where there are no
`stages` the recipe's sections mean the usual four.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.contract.problems import did_you_mean
from data_prep.contract.receipt import kind_of, read_receipt
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.stages import DATASET, FILES, Input, Kind, Source, Stage
from launch.kinds import all_kinds
from launch.recipe import Recipe, merged, told_of, validated
from launch.study import study_stages
from pipeline.stages.training import inherited

NAME = re.compile(r"[A-Za-z0-9][\w-]{0,63}", re.ASCII)
"""Names of stages: they are folders, MLflow runs and arguments."""
TAKEN = {"plots"}


@dataclass(frozen=True)
class Graph:
    """Stages by name, each after those that it reads."""

    stages: Mapping[str, Stage]
    kinds: Mapping[str, Kind]
    aside: frozenset[str] = frozenset()
    """Stages that are only run where they are named."""

    def kind(self, stage: Stage) -> Kind:
        """The kind of a stage."""
        return self.kinds[stage.kind]

    def with_needs(self, names: Iterable[str] | None = None) -> list[Stage]:
        """The named stages, or all, with all that they need. `InputError` for a name that there is not."""
        wanted = [name for name in self.stages if name not in self.aside] if names is None else list(names)
        needed: set[str] = set()
        for name in wanted:
            self.need(name, needed, named=set(wanted))
        return [stage for name, stage in self.stages.items() if name in needed]

    def need(self, name: str, found: set[str], named: set[str]) -> None:
        """Add a stage and what it needs to those found."""
        if name not in self.stages:
            raise InputError(f"no stage is called {name}{near(name, self.stages)}")
        if name in found or (name in self.aside and name not in named):
            return
        found.add(name)
        for other in self.stages[name].needs():
            self.need(other, found, named)

    def trainings(self, name: str) -> Stage:
        """The stage of this name, which must be one that trains. `InputError` where it is not."""
        known = [stage.name for stage in self.stages.values() if self.kind(stage).trains]
        if name not in known:
            raise InputError(
                f"--stage {name}: no stage that trains is called so; there is {', '.join(known)}"
            )
        return self.stages[name]

    def of_kind(self, kind: str) -> list[Stage]:
        """The stages of a kind, those that are only run where they are named too."""
        return [stage for stage in self.stages.values() if stage.kind == kind]


def graph(recipe: Recipe, work: Path, address: str = "") -> Graph:
    """The graph of a recipe in its work folder; at `address` its datasets lie in object storage."""
    kinds = all_kinds()
    if recipe.study:
        plain, aside = study_stages(recipe), frozenset[str]()
    else:
        plain, aside = (recipe.stages, frozenset[str]()) if recipe.stages else usual(recipe)
    return Resolver(recipe, work, address, kinds, plain).graph(aside)


def usual(recipe: Recipe) -> tuple[dict[str, dict[str, Any]], frozenset[str]]:
    """The four stages of a recipe that names none, and those of them that `bloomery run` leaves out."""
    start = {"from": str(recipe.train.start_from)} if recipe.train.start_from else {}
    pairs = [str(path) for path in recipe.tune.data] or "dataset"
    stages: dict[str, dict[str, Any]] = {
        "dataset": {"kind": "prep"},
        "pretrain": {"kind": "pretrain", "data": "dataset"} | start,
        "tune": {"kind": "instruct", "from": "pretrain", "data": pairs},
        "eval": {
            "kind": "evaluate",
            "of": {"pretrained": "pretrain", "tuned": "tune"},
            "data": "dataset",
        },
    }
    tuned = recipe.tune.enabled and recipe.can_answer
    return stages, frozenset() if tuned else frozenset({"tune"})


MOVED = {"train": ("start_from",), "tune": ("data",)}
"""Keys of the usual sections that say what a stage reads."""


class Resolver:
    """From what a recipe says of its stages to the stages."""

    def __init__(
        self,
        recipe: Recipe,
        work: Path,
        address: str,
        kinds: dict[str, Kind],
        plain: dict[str, dict[str, Any]],
    ) -> None:
        self.recipe, self.work, self.address, self.kinds, self.plain = recipe, work, address, kinds, plain
        self.done: dict[str, Stage] = {}

    def graph(self, aside: frozenset[str]) -> Graph:
        """All stages."""
        for name in self.plain:
            self._resolve(name, ())
        return Graph(self.done, self.kinds, aside)

    def _resolve(self, name: str, above: tuple[str, ...]) -> Stage:
        """A stage, after those that it reads."""
        if name in above:
            circle = " -> ".join([*above[above.index(name) :], name])
            raise self._wrong(f"stages: {circle} is a circle; a stage reads stages before it")
        if name not in self.done:
            stage = self._stage(name, (*above, name))
            self.done[name] = stage
        return self.done[name]

    def _stage(self, name: str, above: tuple[str, ...]) -> Stage:
        where, given = f"stages.{name}", dict(self.plain[name])
        if not NAME.fullmatch(name) or name in TAKEN:
            raise self._wrong(f"{where}: letters, digits, _ and - make the name of a stage, such as base-2")
        kind = self._kind(where, given.pop("kind", None))
        settings = given.pop("data", None)
        own_data = dict(settings) if isinstance(settings, dict) else {}
        if settings is not None:
            given["data"] = own_data.pop("from", None) if isinstance(settings, dict) else settings
        inputs = {
            one.key: self._sources(f"{where}.{one.key}", one, given.pop(one.key, None), above)
            for one in kind.inputs
        }
        seed = given.pop("seed", self.recipe.seed)
        overrides = {key: given.pop(key) for key in kind.sections if key in given} | (
            {"data": own_data} if own_data else {}
        )
        stage = Stage(
            name=name,
            kind=kind.name,
            recipe=self.recipe.name,
            seed=seed,
            work=self.work,
            sections=self._sections(where, kind, overrides, inputs),
            settings=self._settings(where, kind, given),
            inputs={key: sources for key, sources in inputs.items() if sources},
            address=self.address,
        )
        with told_of(self.recipe.path, where if self.recipe.stages else ""):
            kind.config(stage)
        return stage

    def _kind(self, where: str, word: Any) -> Kind:
        if word is None:
            raise self._wrong(f"{where}.kind is missing; one of {', '.join(self.kinds)} is expected")
        if not isinstance(word, str) or word not in self.kinds:
            raise self._wrong(f"{where}.kind: no kind of stage is called {word}{near(str(word), self.kinds)}")
        return self.kinds[word]

    def _sources(self, where: str, wanted: Input, given: Any, above: tuple[str, ...]) -> tuple[Source, ...]:
        """What a key of a stage names."""
        if given is None:
            given = self._default(wanted)
        if given is None:
            if wanted.required:
                raise self._wrong(f"{where} is missing; {expected(wanted)} is expected")
            return ()
        named = given if isinstance(given, dict) else {str(one): one for one in listed(given)}
        if len(named) > 1 and not wanted.many:
            raise self._wrong(f"{where} names {len(named)}; {expected(wanted)} is expected")
        return tuple(self._source(where, wanted, str(label), one, above) for label, one in named.items())

    def _default(self, wanted: Input) -> str | None:
        """The recipe's one dataset, where a stage does not say which it reads."""
        datasets = [
            name
            for name, about in self.plain.items()
            if (kind := self.kinds.get(str(about.get("kind")))) and kind.gives == DATASET
        ]
        return datasets[0] if len(datasets) == 1 and DATASET in wanted.takes else None

    def _source(self, where: str, wanted: Input, label: str, given: Any, above: tuple[str, ...]) -> Source:
        if not isinstance(given, str) or not given:
            raise self._wrong(f"{where} is {given!r}; {expected(wanted)} is expected")
        if given in self.plain:
            stage = self._resolve(given, above)
            gives = self.kinds[stage.kind].gives
            if gives not in wanted.takes:
                raise self._wrong(
                    f"{where}: the stage {given} gives a {gives}; {expected(wanted)} is expected"
                )
            return Source(label, str(stage.folder), given)
        path = given if "://" in given else str(self.recipe.path.parent.resolve() / given)
        if "://" not in given and not Path(path).exists() and "/" not in given and FILES not in wanted.takes:
            raise self._wrong(f"{where}: no stage and no path is called {given}{near(given, self.plain)}")
        return Source(self._label(where, label), path)

    def _label(self, where: str, label: str) -> str:
        """What to call something that is there already in a sentence."""
        usual_start = not self.recipe.stages and where == "stages.pretrain.from"
        return f"train.start_from {label}" if usual_start else label

    def _sections(
        self, where: str, kind: Kind, overrides: Mapping[str, Any], inputs: Mapping[str, tuple[Source, ...]]
    ) -> dict[str, Settings]:
        """The recipe's sections under the stage's keys; what both leave out is the run's it starts from."""
        start = next(iter(inputs.get(kind.inherits, ())), None)
        found: dict[str, Settings] = {}
        for name in kind.sections:
            section = Recipe.model_fields[name].annotation
            assert isinstance(section, type)
            base = self._base(name, start, kind)
            given = overrides.get(name, {})
            if not isinstance(given, dict):
                raise self._wrong(f"{where}.{name} is {given!r}; a mapping of keys is expected")
            found[name] = validated(
                section, merged(base, given), self.recipe.path, f"{where}.{name}" if given else name
            )
        return found

    def _base(self, name: str, start: Source | None, kind: Kind) -> dict[str, Any]:
        """What a section holds before the stage's own keys."""
        own = self.recipe.plain.get(name) or {}
        if start is None or name not in kind.inherited:
            return dict(own)
        if start.stage and not is_imported(start.path):
            section = self.done[start.stage].sections.get(name)
            return section.model_dump(mode="json") if section else dict(own)
        run = start.path if (start.path / "config.yaml").is_file() else start.path.resolve().parent.parent
        if "preset" in own or not (run / "config.yaml").is_file():
            return dict(own)
        return merged(inherited(run).get(name, {}), own)

    def _settings(self, where: str, kind: Kind, given: dict[str, Any]) -> Settings:
        """The stage's own keys over the recipe's section for its kind."""
        section = dict(self.recipe.plain.get(kind.section) or {}) if kind.section else {}
        for key in MOVED.get(kind.section, ()):
            section.pop(key, None)
        prefix = where if self.recipe.stages else kind.section
        return validated(kind.settings, merged(section, given), self.recipe.path, prefix)

    def _wrong(self, sentence: str) -> InputError:
        return InputError(f"{self.recipe.path}: {sentence}")


def is_imported(run: Path) -> bool:
    """Whether a folder holds an imported model, which says itself what it is."""
    receipt = read_receipt(run)
    return receipt is not None and kind_of(receipt) == "import"


def listed(given: Any) -> list[Any]:
    """One thing or several, as a list."""
    return given if isinstance(given, list) else [given]


def expected(wanted: Input) -> str:
    """What an input may be, in words."""
    words = {FILES: "files"}
    several = " or several" if wanted.many else ""
    return " or ".join(words.get(one, f"a {one}") for one in wanted.takes) + several


def near(word: str, words: Iterable[str]) -> str:
    """What may have been meant."""
    known = list(words)
    return did_you_mean(word, known) or f"; there is {', '.join(known)}"
