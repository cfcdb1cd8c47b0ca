"""The kind of stage that prepares pictures: folders, tars or tables of them in, a dataset of pictures out."""

from pathlib import Path
from typing import Any

from data_prep.config import TokenizerConfig
from data_prep.contract.names import without_passwords
from data_prep.contract.receipt import Receipt
from data_prep.contract.report import Headline, Part, Section, StageReport
from data_prep.contract.settings import InputError
from data_prep.contract.stages import PICTURES, Kind, Notify, Stage
from data_prep.images.config import ImagesConfig
from data_prep.stage import chart, funnel, headlines


class Images(Kind):
    """`images`: reads the section tokenizer where there are captions; its settings are the section images."""

    name, gives, section = "images", PICTURES, "images"
    sections = ("tokenizer",)
    settings = ImagesConfig

    def fingerprint(self, stage: Stage) -> str:
        """The settings, the files that there are at the paths, and how pixels are handled."""
        from data_prep.images.run import identify

        return identify(*arguments(stage)).fingerprint

    def is_done(self, stage: Stage) -> bool:
        """Whether the dataset in the folder is this very one."""
        from data_prep.images.run import is_done

        return is_done(*arguments(stage), stage.folder)

    def check(self, stage: Stage) -> None:
        """`InputError` where the work folder's datasets lie at an address."""
        if stage.address:
            raise InputError(
                f"{stage.name}: pictures are prepared into a folder; give a work folder that is no address"
            )

    def run(self, stage: Stage, notify: Notify) -> Receipt:
        """Make the dataset."""
        from data_prep.images.run import prepare

        self.check(stage)
        return prepare(*arguments(stage), stage.folder, notify)

    def config(self, stage: Stage) -> dict[str, Any]:
        """As receipts of datasets have it."""
        config, _, seed = arguments(stage)
        told: dict[str, Any] = without_passwords({"images": config.model_dump(mode="json"), "seed": seed})
        return told

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """The funnel: what was left after each step, and what each rule took."""
        parts: list[Part] = [chart(receipt), funnel(receipt)] if receipt.counts.get("funnel") else []
        found = [*headlines(receipt)]
        if "train_samples" in receipt.counts:
            found.append(Headline("train pictures", f"{receipt.counts['train_samples']:,}"))
        return StageReport(found, [Section("Pictures", parts)])


def arguments(stage: Stage) -> tuple[ImagesConfig, TokenizerConfig, int]:
    """What the preparation is given."""
    config, tokenizer = stage.settings, stage.sections["tokenizer"]
    assert isinstance(config, ImagesConfig)
    assert isinstance(tokenizer, TokenizerConfig)
    return config, tokenizer, stage.seed
