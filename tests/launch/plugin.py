"""Two kinds of stages from outside the packages, as others would write them: a computation, a training."""

import time
from pathlib import Path
from typing import Any

from data_prep.contract.dataset import Dataset
from data_prep.contract.receipt import Receipt, write_atomic
from data_prep.contract.report import Headline, Section, StageReport, Text
from data_prep.contract.settings import Settings
from data_prep.contract.stages import DATASET, Input, Kind, Notify, Stage
from pipeline.stages.pretrain import Pretrain


class CountSettings(Settings):
    seconds: float = 0.0
    """Wait after each split."""


class Count(Kind):
    """Counts a dataset's tokens, a file for each split."""

    name, gives, settings = "count_tokens", "counts", CountSettings
    inputs = (Input("data", (DATASET,)),)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        assert isinstance(stage.settings, CountSettings)
        dataset = Dataset(stage.inputs["data"][0].path)
        for split in dataset.manifest.splits:
            part = stage.folder / f"{split}.txt"
            if not part.is_file():  # a part that is there was finished by an earlier process
                count = sum(len(block.tokens) for block in dataset.blocks(split))
                write_atomic(part, str(count))
                notify(f"{stage.name}: counted {split}")
                time.sleep(stage.settings.seconds)
        return {path.stem: int(path.read_text()) for path in sorted(stage.folder.glob("*.txt"))}

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        words = [Text(f"{name}: {count} tokens, <not HTML>") for name, count in receipt.counts.items()]
        total = str(sum(receipt.counts.values()))
        return StageReport([Headline("tokens counted", total)], [Section("Token counts", words)])


class Echo(Pretrain):
    """Pretrains as `pretrain` does; a kind that trains is as small as what it changes."""

    name, section, title = "echo", "", "Echo training"
