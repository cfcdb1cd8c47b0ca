"""The report of an evaluation: tasks, held-out text, blanks and generations as plain parts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.contract.report import (
    Code,
    Headline,
    Part,
    Section,
    StageReport,
    Table,
    Text,
)
from pipeline.reports.aggregate import aggregate
from pipeline.reports.tasks import task_figures, task_headlines, task_sections

COLUMNS = {
    "loss": ("loss (nats)", "{:.4f}"),
    "perplexity": ("perplexity", "{:,.2f}"),
    "bits_per_byte": ("bits per byte", "{:.4f}"),
    "accuracy": ("right", "{:.1%}"),
    "shuffled_loss": ("loss, words shuffled", "{:.4f}"),
    "target_loss": ("loss of whole targets", "{:.4f}"),
}
"""Title and form of each figure of held-out text; what is measured depends on the model's architecture."""
OLD_PLACES = {"pretrained": "pretrain", "tuned": "tune"}
"""Where the models of results lie that do not say it, beside the evaluation's folder."""
SHUFFLED = " A model whose loss is no worse with the words it reads shuffled makes nothing of their order."


def evaluation_report(folder: Path, results: dict[str, Any], samples: list[dict[str, Any]]) -> StageReport:
    """What the evaluation in `folder` says."""
    runs = results.get("runs", {})
    said = results.get("places") or {
        label: f"../{name}" for label, name in OLD_PLACES.items() if label in runs
    }
    places = {label: str(whereabouts(folder, place)) for label, place in said.items()}
    unigram = results.get("validation", {}).get("unigram", {})
    level = unigram.get("target_loss", unigram.get("loss"))
    first = next(iter(places.values()), None)
    return StageReport(
        headlines=headlines(results),
        sections=[
            *task_sections(folder, results),
            Section("All tasks over size", [*aggregate(folder.name, results)]),
            Section("Held-out text", held_out(results)),
            Section("Blanks filled in", side_by_side([one for one in samples if one.get("blanks")])),
            Section(
                "Generations, side by side", side_by_side([one for one in samples if not one.get("blanks")])
            ),
        ],
        figures={label: model_figures(run) for label, run in runs.items()},
        places=places,
        levels={first: {"unigram model": float(level)}} if first and level is not None else {},
    )


def whereabouts(folder: Path, place: str) -> Path:
    """Where a run lies now: as it is said from the evaluation's folder, or beside that.

    Older results say it from where the command was called, or from the root of a disk.
    """
    there = [folder / place, folder.parent / Path(place).name, Path(place)]
    return next((one for one in there if one.is_dir()), there[0])


def model_figures(run: dict[str, Any]) -> dict[str, float]:
    """What was found of a model, by names that are the same for every model."""
    validation = run["validation"]
    names = {"loss": "held_out_loss", "accuracy": "hidden_token_accuracy"}
    names |= {key: key for key in ("perplexity", "bits_per_byte", "shuffled_loss", "target_loss")}
    figures = {name: validation[key] for key, name in names.items() if key in validation}
    return figures | task_figures(run)


def headlines(results: dict[str, Any]) -> list[Headline]:
    """The first model's loss beside a unigram model's, and how many tasks each has learnt."""
    found: list[Headline] = []
    runs = results.get("runs", {})
    unigram = results.get("validation", {}).get("unigram", {}).get("loss")
    if runs and unigram is not None:
        name, run = next(iter(runs.items()))
        validation = run["validation"]
        note = f"{name}; a unigram model has {unigram:.3f}"
        found.append(Headline("held-out loss", f"{validation['loss']:.3f}", note))
        perplexity = f"perplexity {validation['perplexity']:,.1f}"
        if "bits_per_byte" in validation:
            found.append(Headline("bits per byte", f"{validation['bits_per_byte']:.3f}", perplexity))
        else:
            found.append(Headline("hidden tokens right", f"{validation['accuracy']:.0%}", perplexity))
    return [*found, *task_headlines(results)]


def held_out(results: dict[str, Any]) -> list[Part]:
    """Loss, perplexity and what else was measured of each model beside the unigram model's."""
    if not results:
        return []
    about = results["validation"]
    models = {"unigram model": about["unigram"]}
    models |= {name: run["validation"] for name, run in results["runs"].items()}
    names = [name for name in COLUMNS if any(name in one for one in models.values())]
    rows = [
        [name, *(COLUMNS[key][1].format(one[key]) if key in one else "" for key in names)]
        for name, one in models.items()
    ]
    head = ["model", *(COLUMNS[name][0] for name in names)]
    words = (
        f"Measured on {about['about']}. The unigram model is fitted on the train tokens with one added to "
        f"every count.{SHUFFLED if 'shuffled_loss' in names else ''}"
    )
    return [Table(head, rows, frozenset(range(1, len(head)))), Text(words)]


def side_by_side(samples: Sequence[dict[str, Any]]) -> list[Part]:
    """A row for each sample: the prompt, what every model made of it, and its own words."""
    if not samples:
        return []
    names, blanks = list(samples[0]["answers"]), bool(samples[0].get("blanks"))
    rows = [
        [
            Code(sample["prompt"], sample["source"], blanks),
            *(Code(sample["answers"][name] or "(nothing)", "", blanks) for name in names),
            Code(sample["reference"], "", blanks),
        ]
        for sample in samples
    ]
    return [Table(["prompt", *names, "reference"], rows, classes="samples")]
