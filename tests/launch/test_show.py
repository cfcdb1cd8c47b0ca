"""What `bloomery inspect` finds where a recipe names its own stages."""

from pathlib import Path

from data_prep.contract.stages import Source
from launch import show
from pipeline.config import PipelineConfig
from pipeline.stages.pretrain import Pretrain
from pipeline.training.job import open_folder
from tests.pipeline.stages_of import stage

CONFIG = {
    "name": "named",
    "model": {"layers": 1, "hidden_size": 32, "heads": 2},
    "data": {"sequence_length": 32},
    "train": {"steps": 4, "global_batch": 4, "micro_batch": 4},
}


def test_a_step_is_traced_in_the_dataset_that_the_stage_names(tmp_path: Path, tiny_dataset: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "crawl").symlink_to(tiny_dataset)
    for place in (tiny_dataset, tmp_path / "work" / "crawl"):
        named = {"data": Source("crawl", str(place))}
        config = PipelineConfig.model_validate(CONFIG)
        job = Pretrain().job(stage(Pretrain(), "base", config, tmp_path / "work", **named))
        open_folder(job, print).close()
        samples = show.trace(job.folder, 2)["samples"]
        assert len(samples) == 4
        assert all(sample["excerpts"] for sample in samples)
