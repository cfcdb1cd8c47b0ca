"""Which maker a recipe's batches come from: that of tokens or that of pictures, by its objective."""

from pipeline.config import PipelineConfig
from pipeline.data.maker import BatchMaker, Maker
from pipeline.objectives.registry import objective_of


def maker_of(config: PipelineConfig, dataset: str, data_rank: int, data_size: int) -> Maker:
    """The maker of rank `data_rank` of `data_size`. Raises `InputError` as that does."""
    if objective_of(config.objective).form == "pictures":
        from pipeline.data.images.maker import ImageBatchMaker  # Pillow, which text does without

        return ImageBatchMaker(config, dataset, data_rank, data_size)
    return BatchMaker(config, dataset, data_rank, data_size)
