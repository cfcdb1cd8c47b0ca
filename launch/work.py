"""Where a recipe's stages keep what they make."""

from pathlib import Path

from pipeline.config import PipelineConfig


def work_folder(config: PipelineConfig, given: Path | None) -> Path:
    """The folder that the command names, or runs/NAME under the one it stands in."""
    return given or Path("runs") / config.name
