"""The kind of stage that a study is made of: pretraining that the report of the whole study speaks for.

2x64-1e12: {kind: cell, data: dataset, model: {layers: 2, hidden_size: 64, heads: 4}, steps: 555}
"""

from pathlib import Path

from data_prep.contract.receipt import Receipt
from data_prep.contract.report import StageReport
from pipeline.stages.pretrain import Pretrain


class Cell(Pretrain):
    """`cell`: one training of a grid, with nothing of its own in the report."""

    name, title = "cell", ""

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """Its curve stands with the others in the study's."""
        del folder, receipt
        return StageReport()
