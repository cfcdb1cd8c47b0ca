"""All kinds of stages there are: preparation's, the pipeline's, and those from outside."""

from data_prep.contract.stages import Kind
from data_prep.images.captions import Captions
from data_prep.images.stage import Images
from data_prep.stage import Prep
from pipeline.stages.registry import kinds


def all_kinds() -> dict[str, Kind]:
    """Every kind by its word in a recipe."""
    return {Prep.name: Prep(), Images.name: Images(), Captions.name: Captions(), **kinds()}
