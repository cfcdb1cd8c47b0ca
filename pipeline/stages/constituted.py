"""What the kinds that read the section `constitution` have in common."""

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.receipt import file_hash
from data_prep.contract.settings import InputError
from data_prep.contract.stages import RUN, Input, Kind, Stage
from pipeline.config import ConstitutionConfig, PrincipleConfig
from pipeline.preferences.constitution.breaches import Breach, breach_called
from pipeline.stages.training import find_start

CRITIC = Input("critic", (RUN,), required=False)
"""The run that is asked about answers; that of `from` where none is named."""


class Constituted(Kind):
    """A kind that needs principles."""

    sections = ("constitution",)
    libraries = ("torch",)

    def check(self, stage: Stage) -> None:
        """There are principles, and every breach is there."""
        constitution_of(stage)
        known(stage)


def constitution_of(stage: Stage) -> ConstitutionConfig:
    """The section. `InputError` where it has no principles."""
    found = stage.sections["constitution"]
    assert isinstance(found, ConstitutionConfig)
    if not found.principles:
        raise InputError(
            f"{stage.name}: constitution.principles is empty; name some, such as "
            "[{name: short, text: 'Be short.'}]"
        )
    return found


def known(stage: Stage) -> list[tuple[PrincipleConfig, Breach]]:
    """The principles whose breaches a rule finds."""
    return [
        (one, breach_called(one.breach, f"constitution.principles.{one.name}.breach"))
        for one in constitution_of(stage).principles
        if one.breach is not None
    ]


def measurable(stage: Stage) -> list[tuple[PrincipleConfig, Breach]]:
    """The same. `InputError` where there is none."""
    found = known(stage)
    if not found:
        raise InputError(
            f"{stage.name}: no principle of the constitution has a breach, a rule that finds where it is "
            "broken; give one its key breach"
        )
    return found


def check_tokenizers(stage: Stage, keys: tuple[str, ...]) -> None:
    """`InputError` where runs of one stage that read each other's ids have different tokenizers."""
    runs = [find_start(source)[1] for key in keys for source in stage.inputs.get(key, ())]
    for run in runs[1:]:
        if file_hash(run / TOKENIZER) != file_hash(runs[0] / TOKENIZER):
            raise InputError(f"{stage.name}: {run} has another tokenizer than {runs[0]}")
