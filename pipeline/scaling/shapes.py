"""The models of a study: layers and widths, named in the recipe or found for a range of parameter counts."""

import numpy as np

from data_prep.contract.settings import InputError
from pipeline.config import ModelConfig
from pipeline.config.study import SHAPE, SizeRange
from pipeline.costs.flops import parameters


def shaped(base: ModelConfig, layers: int, width: int, head_size: int | None = None) -> ModelConfig:
    """The recipe's model with so many layers of that width; heads and the MLP keep their proportions.

    Heads of `head_size`, else of the recipe's, fill the width. `InputError` where they do not.
    """
    size = head_size or base.head_width
    if width % size:
        raise InputError(
            f"study.sizes {layers}x{width}: heads of {size} do not fill the width; "
            f"{max(1, round(width / size)) * size} would, or another study.head_size"
        )
    heads = width // size
    grouped = base.kv_heads != base.heads
    if grouped and heads % base.kv_heads and base.kv_heads > 1:
        raise InputError(
            f"study.sizes {layers}x{width}: {heads} heads are no multiple of model.key_value_heads "
            f"{base.kv_heads}"
        )
    changed = {
        "layers": layers,
        "hidden_size": width,
        "heads": heads,
        "head_size": size if base.head_size else None,
        "encoder_layers": layers if base.architecture == "encoder_decoder" else None,
        "feed_forward_size": scaled(base.feed_forward_size, width, base.hidden_size),
    }
    return ModelConfig.model_validate(base.model_dump(exclude={"preset"}) | changed)


def scaled(size: int | None, width: int, before: int) -> int | None:
    """A width inside a layer that grows with the layer's own; None stays a rule of the model's."""
    return None if size is None else max(1, round(size * width / before))


def named(shape: str) -> tuple[int, int]:
    """Layers and width.

    >>> named("12x768")
    (12, 768)
    """
    found = SHAPE.fullmatch(shape)
    assert found, shape
    return int(found[1]), int(found[2])


def spread(
    sizes: SizeRange, base: ModelConfig, head_size: int | None, rows: int, positions: int
) -> list[tuple[int, int]]:
    """Layers and widths whose parameters are nearest to counts evenly spaced in logs.

    Widths are multiples of a head, layers width / aspect. `InputError` where two counts have one shape.
    """
    step = head_size or base.head_width
    found: dict[tuple[int, int], float] = {}
    widths = iter(range(step, 1 << 20, step))
    tried: list[tuple[tuple[int, int], float]] = []
    while not tried or tried[-1][1] < np.log(2 * sizes.largest):
        width = next(widths)
        layers = max(1, round(width / sizes.aspect))
        count = parameters(shaped(base, layers, width, head_size), rows, positions)
        tried.append(((layers, width), float(np.log(count))))
    for wanted in np.linspace(np.log(sizes.smallest), np.log(sizes.largest), sizes.count):
        shape, _ = min(tried, key=lambda one: abs(one[1] - wanted))
        if shape in found:
            raise InputError(
                f"study.sizes: {np.exp(found[shape]):.3g} and {np.exp(wanted):.3g} parameters are both "
                f"nearest to {shape[0]}x{shape[1]}; ask for fewer sizes, a wider range or a smaller head_size"
            )
        found[shape] = wanted
    return list(found)
