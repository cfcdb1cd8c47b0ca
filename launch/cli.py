"""The `bloomery` command; its parts are in `launch.commands`, what they share in `launch.console`."""

# In the order in which --help lists them.
from launch.commands import stages  # isort: skip
from launch.commands import finetuning  # isort: skip
from launch.commands import models  # isort: skip
from launch.commands import talking  # isort: skip
from launch.commands import scaling  # isort: skip
from launch.commands import looking  # isort: skip
from launch.commands import planning  # isort: skip
from launch.console import app
from launch.quiet import quieten

__all__ = ["app", "finetuning", "looking", "main", "models", "planning", "scaling", "stages", "talking"]


def main() -> None:
    """Entry point of the `bloomery` command."""
    quieten()
    app()
