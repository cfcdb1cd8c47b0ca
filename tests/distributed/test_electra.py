"""ELECTRA's generator and discriminator compute what transformers' two classes do, in every layout.

The reference is `ElectraForMaskedLM` and `ElectraForPreTraining` that share one module of embeddings; it is
given the tokens that ours drew. Logits within 1e-5, the loss too, gradients within 1e-4 of each parameter's
largest, and of the norm of all.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from pipeline.config import DataConfig, ModelConfig, ObjectiveConfig, PipelineConfig
from pipeline.conversion.electra import DISCRIMINATOR
from pipeline.conversion.families.encoders import ELECTRA
from pipeline.conversion.family import Facts
from pipeline.conversion.links import exported, links
from pipeline.conversion.skeleton import shapes
from pipeline.distributed import world
from pipeline.objectives.batches import Batch
from pipeline.objectives.registry import objective_of
from pipeline.objectives.replacing import discriminator, drawn, in_generator
from tests.distributed.one_step import Part, one_step, whole_gradients
from tests.distributed.processes import run_world
from tests.pipeline.conversion import references as ref
from tests.pipeline.objectives.rows import samples, special

LENGTH, POSITIONS = 24, 32
LAYOUTS: list[dict[str, Any]] = [{"tensor": 2}, {"tensor": 2, "sequence": True}, {"pipeline": 2}]
FACTS = Facts(ref.VOCABULARY, pad=0, bos=2, eos=3, positions=POSITIONS)


def config(**parallel: Any) -> PipelineConfig:
    """Four heads, of which the generator has two; weights are large enough for every part to matter."""
    return PipelineConfig(
        name="electra",
        model=ModelConfig(
            preset="electra-tiny", layers=3, initial_std=0.1, initialization="plain", max_positions=POSITIONS
        ),
        objective=ObjectiveConfig(kind="replaced_tokens", noise_density=0.3, generator_share=0.5),
        data=DataConfig(sequence_length=LENGTH),
        parallel=parallel,
    )


def batch() -> Batch:
    """Rows of which two are short, so that there is padding, with two types of tokens."""
    given = config()
    rng = np.random.default_rng(4)
    rows = [rng.integers(120, ref.VOCABULARY, size).tolist() for size in (22, 15, 10)]
    make = objective_of(given.objective).make_batch(given.data, special(ref.VOCABULARY))
    found = make(samples(rows, 22))
    found["token_types"] = ((np.arange(LENGTH) > 7) & (found["segments"] > 0)).astype(np.int64)
    return {name: np.ascontiguousarray(array) for name, array in found.items()}


def in_each(layouts: list[dict[str, Any]]) -> list[Part]:
    """One layout after the other in this process."""
    return [one_step(config(**parallel), batch(), ref.VOCABULARY) for parallel in layouts]


def weights() -> dict[str, Tensor]:
    """Every whole weight."""
    found = shapes(config(), ref.VOCABULARY)
    return {path: ref.weight(path, torch.Size(shape)) for path, shape in found.items()}


@cache
def both() -> tuple[Any, Any]:
    """Transformers' generator and discriminator with our weights and one module of embeddings."""
    world.start_alone()
    given, own = config(), weights()
    discriminating = shapes(given, ref.VOCABULARY, discriminator)
    model = transformers.ElectraForPreTraining(
        transformers.ElectraConfig(**DISCRIMINATOR.write(given.model, FACTS))
    )
    fill(model, exported(links(DISCRIMINATOR, given.model, FACTS, discriminating), own.__getitem__))
    narrow = given.speaker
    generating = shapes(narrow, ref.VOCABULARY)
    generator = transformers.ElectraForMaskedLM(
        transformers.ElectraConfig(**ELECTRA.write(narrow.model, FACTS))
    )
    named = links(ELECTRA, narrow.model, FACTS, generating)
    fill(generator, exported(named, lambda name: own[in_generator(name)]))
    generator.electra.embeddings = model.electra.embeddings
    generator.generator_lm_head.weight = model.electra.embeddings.word_embeddings.weight
    return generator.eval(), model.eval()


def fill(model: Any, tensors: Iterator[tuple[str, Tensor]]) -> None:
    missing, unexpected = model.load_state_dict(dict(tensors), strict=False)
    assert not unexpected
    assert set(missing) <= {"generator_lm_head.weight"}, missing


def reference(drawn_BS: Tensor) -> tuple[dict[str, Tensor], float, dict[str, Tensor]]:
    """Outputs, the loss and gradients by transformers' names, of what was drawn."""
    generator, model = both()
    for one in (generator, model):
        one.zero_grad()
    arrays = {key: torch.from_numpy(array) for key, array in batch().items()}
    common = {"attention_mask": arrays["segments"], "token_type_ids": arrays["token_types"]}
    hidden, real = arrays["weights"].bool(), arrays["segments"].bool()
    words_BSV = generator(input_ids=arrays["tokens"], **common).logits
    losses = F.cross_entropy(words_BSV[hidden], arrays["targets"][hidden], reduction="none")
    logits_BS = model(input_ids=drawn_BS, **common).logits
    replaced = (drawn_BS != arrays["targets"]).float()
    apart = F.binary_cross_entropy_with_logits(logits_BS[real], replaced[real])
    total = losses.mean() + 50.0 * apart
    total.backward()
    gradients = {f"generator.{path}": p.grad for path, p in generator.named_parameters()}
    gradients |= {path: p.grad for path, p in model.named_parameters()}
    losses_BS = torch.zeros(hidden.shape).masked_scatter(hidden, losses.detach())
    found = {"generator_losses": losses_BS, "discriminator_logits": logits_BS.detach(), "words": words_BSV}
    return found, float(total.detach()), {path: one for path, one in gradients.items() if one is not None}


def test_layouts_equal_transformers() -> None:
    parts = run_world(2, in_each, LAYOUTS)
    found = [[part[index] for part in parts] for index in range(len(LAYOUTS))]
    alone = run_world(1, in_each, [{}])[0]
    for layout, ranks in zip([{}, *LAYOUTS], [alone, *found], strict=True):
        check(ranks, str(layout))
    first = [ranks[-1].outputs["drawn"] for ranks in (alone, *found)]
    for other in first[1:]:
        np.testing.assert_array_equal(other, first[0])


def check(parts: list[Part], layout: str) -> None:
    """Outputs, loss and gradients of one layout."""
    last = parts[-1].outputs
    wanted, loss, gradients = reference(torch.from_numpy(last["drawn"]))
    real = batch()["segments"].astype(bool)
    for name in ("generator_losses", "discriminator_logits"):
        ref.close(torch.from_numpy(last[name][real]), wanted[name][real], 1e-5, f"{layout} {name}")
    assert parts[-1].loss == pytest.approx(loss, rel=1e-5)
    ours = whole_gradients(parts)
    compare(ours, gradients, layout)
    norm = torch.stack([one.square().sum() for one in ours.values()]).sum().sqrt()
    np.testing.assert_allclose([part.norm for part in parts], float(norm), rtol=1e-4, err_msg=layout)


def compare(ours: dict[str, Tensor], there: dict[str, Tensor], layout: str) -> None:
    """Gradients by transformers' names; those of embeddings are already sums over both."""
    given = config()
    own = links(DISCRIMINATOR, given.model, FACTS, shapes(given, ref.VOCABULARY, discriminator))
    narrow = links(ELECTRA, given.speaker.model, FACTS, shapes(given.speaker, ref.VOCABULARY))
    pairs = [(path, one) for path, one in exported(own, ours.__getitem__)]
    pairs += [
        (f"generator.{path}", one) for path, one in exported(narrow, lambda name: ours[in_generator(name)])
    ]
    compared = 0
    for path, found in pairs:
        if path not in there:
            assert "embeddings." in path or path.endswith("lm_head.weight"), path
            continue
        apart = float((found - there[path]).abs().max())
        assert apart <= 1e-4 * float(there[path].abs().max().clamp(min=1e-3)), f"{layout} {path}: {apart}"
        compared += 1
    assert compared > 60


def test_draws_are_those_of_the_probabilities() -> None:
    """Of all draws in turn each token gets its share, in the order of ids; rows of no token get none."""
    world.start_alone()
    generator = torch.Generator().manual_seed(0)
    logits_V = torch.randn(13, generator=generator)
    logits_V[11:] = -torch.inf
    count = 20_000
    draws = (torch.arange(count).double() * (2.0**31 / count)).int()
    tokens = drawn(logits_V.expand(count, -1), draws)
    assert (tokens.diff() >= 0).all()
    shares = torch.bincount(tokens, minlength=13) / count
    torch.testing.assert_close(shares, logits_V.softmax(0), atol=2 / count, rtol=0.0)
