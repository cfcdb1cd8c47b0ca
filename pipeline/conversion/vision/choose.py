"""Which family of image models a run or a folder is of."""

from typing import Any

from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig
from pipeline.conversion.vision.family import CLIP, FREE, MAE, SWINS, VIT, ImageFamily, Said, filled
from pipeline.conversion.vision.llava import LLAVA

IMAGE_FAMILIES = (VIT, SWINS, MAE, CLIP, LLAVA)


def image_family_of(config: PipelineConfig, said: Said) -> ImageFamily:
    """The family of a run. `InputError` with the key that no class of transformers has."""
    assert config.vision is not None
    swin = config.vision.architecture == "swin"
    same = [one for one in IMAGE_FAMILIES if one.objective == config.objective.kind]
    if not same:
        known = ", ".join(dict.fromkeys(one.objective for one in IMAGE_FAMILIES))
        raise InputError(
            f"objective.kind {config.objective.kind}: transformers has no class of it; what is exported has "
            f"learned one of {known}"
        )
    family = next((one for one in same if swin == (one.model_type == "swin")), same[0])
    back = family.read(family.write(config, said), config.name, family.class_name, {})
    for section in ("vision", "model") if family is CLIP else ("vision",):
        ours, theirs = getattr(config, section), getattr(back, section)
        mine, its = (filled(one) for one in (ours, theirs))
        for name in mine:
            if name not in FREE | family.free and mine[name] != its[name]:
                raise InputError(
                    f"{family.class_name} has no {section}.{name} {mine[name]!r}; it has {its[name]!r}"
                )
    return family


def image_family_named(theirs: dict[str, Any]) -> ImageFamily | None:
    """The family of a config.json, where it is of images."""
    return next((one for one in IMAGE_FAMILIES if one.model_type == theirs.get("model_type")), None)
