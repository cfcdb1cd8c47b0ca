"""Registering what was exported: a version of a model in MLflow, with the figures of its run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data_prep.contract.settings import InputError
from launch.kinds import all_kinds
from pipeline.checkpoints.run_folder import read_config
from pipeline.reports.findings import Findings, last_checkpoint
from pipeline.reports.publish import model_of, register
from pipeline.stages.summary import findings_of

NOT_IN_NAMES = "/:'"
"""What MLflow takes in no name of a registered model."""


@dataclass(frozen=True)
class Registration:
    """A run of a work folder that may be registered under a name."""

    run: Path
    findings: Findings
    name: str

    @classmethod
    def of(cls, checkpoint: Path, name: str) -> "Registration":
        """For a run, or its last checkpoint, whose figures are known. `InputError` where they are not."""
        if not name.strip() or any(letter in name for letter in NOT_IN_NAMES):
            raise InputError(f"--register {name!r}: a name without / : and quotes is expected")
        run = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint
        if run != checkpoint and checkpoint.resolve() != last_checkpoint(run.resolve()):
            raise InputError(f"{checkpoint}: not the last checkpoint, which alone is measured; give {run}")
        run = run.resolve()
        findings = findings_of(run.parent, all_kinds())
        model_of(findings, run.name)
        return cls(run, findings, name)

    def send(self, folder: Path, notify: Callable[[str], None]) -> None:
        """Tell MLflow of the exported folder."""
        settings = read_config(self.run).tracking
        register(self.findings, self.run.name, folder, self.name, settings, notify)
        notify(f"{folder}: a version of {self.name} in MLflow")
