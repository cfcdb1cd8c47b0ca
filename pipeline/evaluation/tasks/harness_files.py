"""Task files of lm-evaluation-harness that need no code, in our terms (its docs/task_guide.md).

Rows have to be at hand: `dataset_path` json or parquet with `dataset_kwargs.data_files`. A file
that names Python code (`!function`) is refused: `bloomery eval --harness` runs those by the harness itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.contract.names import printable
from data_prep.contract.settings import InputError
from pipeline.evaluation.tasks.rows import read_rows
from pipeline.evaluation.tasks.templates import MissingColumnError, Row, value

MARKS = {"dataset_path", "output_type", "doc_to_text", "doc_to_target", "test_split", "validation_split"}
"""Keys that only files of the harness have."""
WITHOUT_EFFECT = {
    "dataset_name",
    "doc_to_decontamination_query",
    "metadata",
    "num_fewshot",
    "should_decontaminate",
    "tag",
    "task_alias",
    "training_split",
    "unsafe_code",
    "version",
}
KNOWN = WITHOUT_EFFECT | {
    "dataset_kwargs",
    "dataset_path",
    "description",
    "doc_to_choice",
    "doc_to_target",
    "doc_to_text",
    "fewshot_config",
    "fewshot_delimiter",
    "fewshot_split",
    "filter_list",
    "generation_kwargs",
    "metric_list",
    "output_type",
    "repeats",
    "target_delimiter",
    "task",
    "test_split",
    "validation_split",
}
NORMALISATIONS = {
    "acc": "sum",
    "acc_norm": "characters",
    "acc_bytes": "bytes",
    "acc_mutual_info": "unconditional",
}
GENERATED = {"exact_match": "exact_match", "f1": "f1", "bleu": "bleu", "rouge": "rouge"}
TOKENS = 256
"""Longest answer where a file says none: the harness's own."""


def without_code(path: Path, content: bytes) -> bytes:
    """The content of a file. `InputError` where it names Python code."""
    if b"!function" in content:
        raise InputError(
            f"{path}: names Python code (!function), which is not run here; "
            "`bloomery eval --harness` runs such tasks by lm-evaluation-harness itself"
        )
    return content


def is_foreign(plain: Mapping[str, Any]) -> bool:
    """Whether the keys of a file are the harness's."""
    return bool(MARKS & plain.keys())


def translated(plain: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The same task in our keys. `InputError` names what has no like here."""
    unknown = sorted(map(str, plain.keys() - KNOWN))
    if unknown:
        raise InputError(f"{path}: {printable(unknown[0])} of lm-evaluation-harness has no like here")
    if plain.get("repeats", 1) != 1:
        raise InputError(f"{path}: repeats has no like here")
    rows, examples = _files(plain, path)
    target = plain.get("doc_to_target", "")
    found: dict[str, Any] = {
        "task": str(plain.get("task") or path.stem),
        "rows": rows,
        "answer": target if isinstance(target, int) else str(target),
        "description": str(plain.get("description") or ""),
        "delimiter": str(plain.get("target_delimiter", " ")),
        "few_shot": _few_shot(plain, examples, path),
    }
    kind = plain.get("output_type", "generate_until")
    if kind == "multiple_choice":
        return found | _choices(plain, target, read_rows(path.parent / rows)[0])
    text = {"question": str(plain.get("doc_to_text") or "")}
    if kind == "loglikelihood":
        return found | text | {"score": "greedy"}
    if kind == "loglikelihood_rolling":
        return found | {"score": "loss", "few_shot": {}}
    if kind == "generate_until":
        choices = {"choices": _listing(plain["doc_to_choice"])} if plain.get("doc_to_choice") else {}
        return found | text | choices | _generated(plain, path)
    raise InputError(f"{path}: output_type {printable(str(kind))} has no like here")


def _files(plain: Mapping[str, Any], path: Path) -> tuple[str, str]:
    """The file of the rows and that of the examples, empty where it is the same."""
    if plain.get("dataset_path") not in ("json", "parquet"):
        raise InputError(
            f"{path}: its rows are not at hand (dataset_path {printable(str(plain.get('dataset_path')))}); "
            "json or parquet with dataset_kwargs.data_files is, and `bloomery eval --harness` fetches others"
        )
    given = (plain.get("dataset_kwargs") or {}).get("data_files")
    files = given if isinstance(given, dict) else {"train": given}
    split = plain.get("test_split") or plain.get("validation_split") or "train"
    return _file(files, split, path), _examples(plain, files, split, path)


def _examples(plain: Mapping[str, Any], files: Mapping[str, Any], split: str, path: Path) -> str:
    names = (plain.get(f"{name}_split") for name in ("fewshot", "training", "validation"))
    source = next((name for name in names if name), split)
    return "" if source == split else _file(files, source, path)


def _file(files: Mapping[str, Any], split: str, path: Path) -> str:
    found = files.get(split)
    if isinstance(found, list) and len(found) == 1:
        (found,) = found
    if not isinstance(found, str):
        raise InputError(f"{path}: dataset_kwargs.data_files names no one file for the split {split}")
    return str((path.parent / found).resolve() if (path.parent / found).exists() else Path(found).resolve())


def _few_shot(plain: Mapping[str, Any], examples: str, path: Path) -> dict[str, Any]:
    sampler = (plain.get("fewshot_config") or {}).get("sampler", "default")
    if sampler not in ("default", "first_n"):
        raise InputError(f"{path}: fewshot_config.sampler {printable(str(sampler))} has no like here")
    return {
        "rows": examples,
        "shots": [plain.get("num_fewshot") or 0],
        "take": "first" if sampler == "first_n" else "random",
        "separator": str(plain.get("fewshot_delimiter", "\n\n")),
    }


def _metrics(plain: Mapping[str, Any], default: str) -> list[dict[str, Any]]:
    found = plain.get("metric_list") or [{"metric": default}]
    return [one for one in found if isinstance(one, dict)]


def _choices(plain: Mapping[str, Any], target: Any, row: Row) -> dict[str, Any]:
    """Choices behind a text; or, where the text of a row is a number, contexts before a target."""
    names = [one.get("metric") for one in _metrics(plain, "acc")]
    normalise = next((NORMALISATIONS[name] for name in names if name in NORMALISATIONS), "sum")
    if "acc_mutual_info" in names:
        normalise = "unconditional"
    found: dict[str, Any] = {"score": "choices", "normalise": normalise}
    text, choices = plain.get("doc_to_text", ""), _listing(plain.get("doc_to_choice", []))
    try:
        by_context = str(value(text, row)).isdecimal()
    except MissingColumnError:
        by_context = False
    if by_context:
        return found | {"contexts": choices, "answer": text, "continuation": str(target)}
    return found | {"question": str(text), "choices": choices}


def _listing(choices: Any) -> Any:
    return [*map(str, choices.values())] if isinstance(choices, dict) else choices


def _generated(plain: Mapping[str, Any], path: Path) -> dict[str, Any]:
    given = plain.get("generation_kwargs") or {}
    stop = given.get("until", plain.get("fewshot_delimiter", "\n\n"))
    sampled = given.get("do_sample", False)
    metric = next((one for one in _metrics(plain, "exact_match") if one.get("metric") in GENERATED), None)
    if metric is None:
        raise InputError(f"{path}: none of its metrics has its like here; {', '.join(GENERATED)} have")
    return {
        "score": GENERATED[metric["metric"]],
        "generate": {
            "max_tokens": given.get("max_gen_toks", TOKENS),
            "stop": [stop] if isinstance(stop, str) else stop,
            "temperature": given.get("temperature", 1.0) if sampled else 0.0,
        },
        "extract": {
            "strip": False,
            "ignore_case": metric.get("ignore_case", False),
            "ignore_punctuation": metric.get("ignore_punctuation", False),
            "remove": metric.get("regexes_to_ignore", []),
        }
        | _filters(plain, path),
    }


def _filters(plain: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The first list of filters, which is what the harness puts first."""
    found: dict[str, Any] = {}
    lists = plain.get("filter_list") or [{"filter": []}]
    for one in lists[0].get("filter", []):
        name = one.get("function")
        if name == "regex":
            found |= {"pattern": one.get("regex_pattern", r"#### (\-?[0-9\.\,]+)")}
            if one.get("group_select", 0) not in (0, -1):
                raise InputError(
                    f"{path}: group_select {one['group_select']} has no like here; 0 and -1 have"
                )
            found["take"] = "last" if one.get("group_select", 0) == -1 else "first"
        elif name == "remove_whitespace":
            found["strip"] = True
        elif name == "lowercase":
            found["ignore_case"] = True
        elif name != "take_first":
            raise InputError(f"{path}: the filter {printable(str(name))} has no like here")
    return found
