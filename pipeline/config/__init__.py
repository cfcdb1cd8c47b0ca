"""The pipeline's sections of a recipe, a file each.

`launch` adds those of data preparation and reads the YAML.
"""

from pipeline.config.constitution import ConstitutionConfig, PrincipleConfig
from pipeline.config.data import DataConfig, MixtureEntry
from pipeline.config.evaluation import EvalConfig
from pipeline.config.experts import Experts
from pipeline.config.lora import LoRA
from pipeline.config.model import ModelConfig
from pipeline.config.objective import TRAINS, NoiseKind, ObjectiveConfig
from pipeline.config.optimizer import OptimizerConfig, TrainConfig, TuneConfig
from pipeline.config.parallel import ParallelConfig
from pipeline.config.ramp_up import RampUp
from pipeline.config.rope import RopeScaling
from pipeline.config.run import EvaluationConfig, PipelineConfig
from pipeline.config.study import StudyConfig
from pipeline.config.tracking import TrackingConfig
from pipeline.config.view import RandAugmentConfig, ViewConfig
from pipeline.config.vision import VisionConfig

__all__ = [
    "TRAINS",
    "ConstitutionConfig",
    "DataConfig",
    "EvalConfig",
    "EvaluationConfig",
    "Experts",
    "LoRA",
    "MixtureEntry",
    "ModelConfig",
    "NoiseKind",
    "ObjectiveConfig",
    "OptimizerConfig",
    "ParallelConfig",
    "PipelineConfig",
    "PrincipleConfig",
    "RampUp",
    "RandAugmentConfig",
    "RopeScaling",
    "StudyConfig",
    "TrackingConfig",
    "TrainConfig",
    "TuneConfig",
    "ViewConfig",
    "VisionConfig",
]
