"""The kind of stage that shows attention: trained models and a dataset to maps of who looks at whom.

attention: {kind: attention, of: [base, runs/quickstart-bert/pretrain, runs/quickstart-t5/pretrain]}
"""

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from data_prep.contract.lock import reading
from data_prep.contract.reading import read_json
from data_prep.contract.receipt import Receipt, write_atomic
from data_prep.contract.report import Heatmap, Heatmaps, Part, Section, StageReport, Text
from data_prep.contract.settings import Settings
from data_prep.contract.stages import DATASET, RUN, Input, Kind, Notify, Stage
from pipeline.evaluation.evaluate import check_tokens
from pipeline.stages.training import find_dataset

MAPS = "maps.json"
WORDS = (
    "Each map is of one held-out sample: a row is a position that looks, a column one that is looked at, "
    "darker where its share is larger; shares are means over layers and heads. White is what the mask hides."
)


class AttentionConfig(Settings):
    positions: int = Field(48, ge=2, le=512)
    """The first positions of the sample, as many as are shown."""


class AttentionMaps(Kind):
    """`attention`: the shares that models give to positions, by the masks that they use."""

    name, gives, settings = "attention", "maps", AttentionConfig
    inputs = (Input("of", (RUN,), many=True), Input("data", (DATASET,)))
    artifacts, libraries = (MAPS,), ("torch",)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """A map for every kind of attention of every model."""
        from pipeline.evaluation.attention_maps import attention_maps, held_out_batch
        from pipeline.generation.load import load_model

        settings, data = stage.settings, find_dataset(stage)
        assert isinstance(settings, AttentionConfig)
        found: dict[str, list[dict[str, Any]]] = {}
        with reading(data.folder, "showing attention on what is"):
            for source in stage.inputs["of"]:
                model = load_model(source.path)
                check_tokens(model, data, source.path)
                maps = attention_maps(model, model.module, held_out_batch(model, data))
                most = settings.positions
                found[source.label] = [
                    {"where": one.where, "shares": one.shares[:most, :most].round(6).tolist()} for one in maps
                ]
                notify(f"{stage.name}: {source.label}, {', '.join(one.where for one in maps)}")
        write_atomic(stage.folder / MAPS, json.dumps(found) + "\n")
        return {name: [one["where"] for one in maps] for name, maps in found.items()}

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """The maps."""
        parts: list[Part] = [Text(WORDS)]
        for number, (name, maps) in enumerate(read_json(folder / MAPS).items()):
            panels = [Heatmap(f"{name}: {one['where']}", one["shares"]) for one in maps]
            parts.append(
                Heatmaps(f"{folder.name}_{number}", panels, "position looked at", "position that looks")
            )
        return StageReport(sections=[Section("Attention", parts)])
