"""Published image models have their published numbers of parameters, computed without building them.

Counts to the digit are those of transformers' classes of these sizes, 1,000 classes where there is a head;
the papers round them to 86, 307 and 632 million (ViT-B, L, H).
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from pipeline.config import ModelConfig, ObjectiveConfig, PipelineConfig, VisionConfig
from pipeline.costs import flops
from pipeline.costs import vision as costs
from pipeline.distributed import world
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack

COUNTS = {
    "vit-ti16": 5_717_416,
    "vit-s16": 22_050_664,
    "vit-b32": 88_224_232,
    "vit-b16": 86_567_656,
    "vit-l16": 304_326_632,
    "vit-h14": 632_045_800,
    "swin-t": 28_288_354,
    "swin-s": 49_606_258,
    "swin-b": 87_768_224,
    "swin-l": 196_532_476,
    "mae-b16": 111_907_840 - 252_160,
    "mae-l16": 329_541_888 - 302_592,
    "mae-h14": 657_074_508 - 460_544,
    "clip-b32": 151_277_313,
    "clip-b16": 149_620_737,
    "clip-l14": 427_616_513,
    "clip-l14-336": 427_944_193,
}
"""A masked autoencoder's are without its fixed positions, which are computed here and counted there."""
CLIP_WORDS = 49_408
KINDS = {"swin": "image_classes", "vit": "image_classes", "mae": "masked_patches", "clip": "contrastive"}


def config(name: str) -> PipelineConfig:
    kind = name.split("-")[0]
    text = ModelConfig(preset="clip-text-l" if name.startswith("clip-l") else "clip-text-b")
    return PipelineConfig(
        name=name,
        vision=VisionConfig(preset=name, classes=1000 if kind in ("vit", "swin") else None),
        model=text if kind == "clip" else ModelConfig(),
        data={"sequence_length": 77},
        objective=ObjectiveConfig(kind=KINDS[kind]),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("name", COUNTS)
def test_parameters(name: str) -> None:
    assert costs.parameters(config(name), CLIP_WORDS) == COUNTS[name]


@pytest.mark.parametrize("name", ["vit-ti16", "swin-t", "mae-b16", "clip-b32"])
def test_what_is_built_has_as_many(name: str) -> None:
    given = config(name)
    world.start_alone()
    with FakeTensorMode():
        stack = Stack(model_layers(given, CLIP_WORDS, torch.float32))
        assert sum(one.numel() for _, one in stack.named()) == COUNTS[name]


def test_llava_has_the_published_parameters() -> None:
    """LLaVA-1.5 of 7B: 7,062,902,784 with a last layer of the tower and a norm that are of no use to it."""
    given = PipelineConfig(
        name="llava",
        vision=VisionConfig(preset="clip-l14-336"),
        model=ModelConfig(preset="llama2-7b"),
        data={"sequence_length": 4096},
        objective=ObjectiveConfig(kind="image_answers"),
    )
    unused = flops.block_parameters(given.vision.blocks) + 2 * 1024
    assert costs.parameters(given, 32_000) == 7_062_902_784 - unused
    world.start_alone()
    with FakeTensorMode():
        stack = Stack(model_layers(given, 32_000, torch.float32))
        built = sum(one.numel() for _, one in stack.named())
        assert sum(one.numel() for name, one in stack.named() if name.startswith("projector.")) == 20_979_712
    assert built == costs.parameters(given, flops.padded_vocabulary(32_000))


def test_flops_of_a_vit_are_its_matrices() -> None:
    """Six FLOPs a weight and token, and attention's products; published: 17.6 GFLOPs forward for B/16."""
    forward = costs.training_per_sample(config("vit-b16")) / 3
    assert forward == pytest.approx(2 * 17.58e9, rel=0.01)
