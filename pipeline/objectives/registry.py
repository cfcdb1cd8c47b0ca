"""Every objective by the name that a recipe gives it. A new one is a file and a line here."""

from pipeline.config import ObjectiveConfig
from pipeline.objectives.causal import CausalLM, PrefixLM
from pipeline.objectives.denoising import Denoising
from pipeline.objectives.masked import MaskedLM
from pipeline.objectives.objective import Objective
from pipeline.objectives.replaced import ReplacedTokens
from pipeline.objectives.spans import SpanCorruption
from pipeline.objectives.vision.answers import ImageAnswers
from pipeline.objectives.vision.classes import ImageClasses
from pipeline.objectives.vision.contrastive import Contrastive
from pipeline.objectives.vision.diffusion import Diffusion
from pipeline.objectives.vision.image_tokens import ImageTokens
from pipeline.objectives.vision.masked_patches import MaskedPatches
from pipeline.objectives.vision.pages import ImagePages
from pipeline.objectives.vision.quantised_patches import QuantisedPatches
from pipeline.objectives.vision.rationales import ImageRationales

OBJECTIVES: dict[str, type[Objective]] = {
    "causal_lm": CausalLM,
    "prefix_lm": PrefixLM,
    "masked_lm": MaskedLM,
    "replaced_tokens": ReplacedTokens,
    "span_corruption": SpanCorruption,
    "denoising": Denoising,
    "image_classes": ImageClasses,
    "masked_patches": MaskedPatches,
    "contrastive": Contrastive,
    "diffusion": Diffusion,
    "image_answers": ImageAnswers,
    "image_pages": ImagePages,
    "image_rationales": ImageRationales,
    "quantised_patches": QuantisedPatches,
    "image_tokens": ImageTokens,
}


def objective_of(settings: ObjectiveConfig) -> Objective:
    """The objective of a recipe's `objective` section."""
    return OBJECTIVES[settings.kind](settings)
