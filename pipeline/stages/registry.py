"""Every kind of stage by its word in a recipe: the one list that a new kind is added to.

Further kinds come from outside as entry points of the group `bloomery.kinds`, or for this process and those
that it starts from BLOOMERY_KINDS=package.module:Class,...; a recipe cannot name code.
"""

from functools import cache

from data_prep.contract.plugins import from_outside
from data_prep.contract.settings import InputError
from data_prep.contract.stages import Kind
from pipeline.stages.act import Act
from pipeline.stages.ask_images import AskImages
from pipeline.stages.attention import AttentionMaps
from pipeline.stages.audit import Audit
from pipeline.stages.beside import Beside
from pipeline.stages.cell import Cell
from pipeline.stages.chains import Chains
from pipeline.stages.collection import Collection
from pipeline.stages.compare import Compare
from pipeline.stages.distill import Distill
from pipeline.stages.dpo import Dpo
from pipeline.stages.emergence import Emergence
from pipeline.stages.episodes import PlayEpisodes
from pipeline.stages.evaluate import Evaluate
from pipeline.stages.feedback import Feedback
from pipeline.stages.few_shot_images import FewShotImages
from pipeline.stages.finetune import Finetune
from pipeline.stages.frontier import Frontier
from pipeline.stages.generate_images import GenerateImages
from pipeline.stages.grpo import Grpo
from pipeline.stages.held_out import HeldOut
from pipeline.stages.instruct import Instruct
from pipeline.stages.lessons import Lessons
from pipeline.stages.ppo import Ppo
from pipeline.stages.pretrain import Pretrain
from pipeline.stages.pretrain_agent import PretrainAgent
from pipeline.stages.pretrain_diffusion import PretrainDiffusion
from pipeline.stages.pretrain_images import PretrainImages
from pipeline.stages.problems import Problems
from pipeline.stages.reason_images import ReasonImages
from pipeline.stages.revise import Revise
from pipeline.stages.reward import Reward
from pipeline.stages.rows import Rows
from pipeline.stages.sample_images import SampleImages
from pipeline.stages.scaling import Scaling
from pipeline.stages.see_images import EmbedImages, ImageBaselines, RestoreImages, ZeroShot
from pipeline.stages.tokenize_images import TokenizeImages

GROUP, VARIABLE = "bloomery.kinds", "BLOOMERY_KINDS"
OWN: tuple[type[Kind], ...] = (
    Pretrain,
    PretrainImages,
    PretrainDiffusion,
    PlayEpisodes,
    PretrainAgent,
    Act,
    Distill,
    Instruct,
    Rows,
    Finetune,
    Collection,
    Lessons,
    Revise,
    Feedback,
    Compare,
    Reward,
    Dpo,
    Grpo,
    Ppo,
    Frontier,
    Audit,
    HeldOut,
    Evaluate,
    AttentionMaps,
    Cell,
    Beside,
    Emergence,
    Scaling,
    ZeroShot,
    AskImages,
    FewShotImages,
    ReasonImages,
    EmbedImages,
    RestoreImages,
    ImageBaselines,
    GenerateImages,
    Problems,
    Chains,
    TokenizeImages,
    SampleImages,
)


@cache
def kinds() -> dict[str, Kind]:
    """A kind of each name. `InputError` where one from outside cannot be loaded or its name is taken."""
    found: dict[str, Kind] = {}
    for place, loaded in [*((one.__name__, one) for one in OWN), *from_outside(GROUP, VARIABLE)]:
        if not (isinstance(loaded, type) and issubclass(loaded, Kind)):
            raise InputError(
                f"{place}: no kind of stage; a subclass of data_prep.contract.stages.Kind is expected"
            )
        if loaded.name in found:
            raise InputError(f"{place}: there is a kind of stage called {loaded.name} already")
        found[loaded.name] = loaded()
    return found
