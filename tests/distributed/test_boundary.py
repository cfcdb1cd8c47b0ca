"""SpanBERT's two losses are those of one span at a time behind transformers' BERT, in every layout.

The encoder and the MLM head are `BertForMaskedLM`; the span boundary objective is written out for each token.
The loss within 1e-5, gradients within 1e-4 of each parameter's largest, and of the norm of all.
"""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from pipeline.config import DataConfig, ModelConfig, ObjectiveConfig, PipelineConfig
from pipeline.conversion.families.encoders import BERT
from pipeline.conversion.family import Facts
from pipeline.conversion.links import exported, links
from pipeline.conversion.skeleton import shapes
from pipeline.costs import flops
from pipeline.distributed import world
from pipeline.objectives.batches import Batch
from pipeline.objectives.registry import objective_of
from tests.distributed.one_step import Part, one_step, whole_gradients
from tests.distributed.processes import run_world
from tests.pipeline.conversion import references as ref
from tests.pipeline.objectives.rows import samples, special

LENGTH, POSITIONS = 40, 48
LAYOUTS: list[dict[str, Any]] = [{"tensor": 2}, {"tensor": 2, "sequence": True}, {"pipeline": 2}]
FACTS = Facts(ref.VOCABULARY, pad=0, bos=2, eos=3, positions=POSITIONS)


def config(**parallel: Any) -> PipelineConfig:
    return PipelineConfig(
        name="spanbert",
        model=ModelConfig(preset="bert-tiny", initial_std=0.1, max_positions=POSITIONS),
        objective=ObjectiveConfig(kind="masked_lm", masking="span", noise_density=0.4, span_boundary=True),
        data=DataConfig(sequence_length=LENGTH),
        parallel=parallel,
    )


def batch() -> Batch:
    """Three rows, two of them short; one span is longer than what is asked of it."""
    given = config()
    rng = np.random.default_rng(4)
    rows = [rng.integers(120, ref.VOCABULARY, size).tolist() for size in (38, 26, 20)]
    found = objective_of(given.objective).make_batch(given.data, special(ref.VOCABULARY))(samples(rows, 38))
    assert (found["weights"].sum(), found["boundary_weights"].sum()) == (37, 31)
    return {name: np.ascontiguousarray(array) for name, array in found.items()}


def in_each(layouts: list[dict[str, Any]]) -> list[Part]:
    """One layout after the other in this process."""
    return [one_step(config(**parallel), batch(), ref.VOCABULARY) for parallel in layouts]


def spans(hidden: list[bool]) -> list[tuple[int, int]]:
    """First and last place of every run of hidden tokens."""
    starts = [i for i, one in enumerate(hidden) if one and not hidden[i - 1]]
    return [(i, next(j for j in range(i, len(hidden)) if not hidden[j]) - 1) for i in starts]


@cache
def reference() -> tuple[dict[str, float], dict[str, Tensor]]:
    """The losses, and gradients by transformers' names and by ours of the boundary's head."""
    world.start_alone()
    given = config().speaker
    own = {path: ref.weight(path, torch.Size(one)) for path, one in shapes(config(), ref.VOCABULARY).items()}
    model = transformers.BertForMaskedLM(transformers.BertConfig(**BERT.write(given.model, FACTS))).eval()
    named = links(BERT, given.model, FACTS, shapes(given, ref.VOCABULARY))
    ref.fill(model, named, own)
    head = {path: one.requires_grad_() for path, one in own.items() if path.startswith("boundary_head.")}
    size = len(head["boundary_head.first.bias"])
    words = model.bert.embeddings.word_embeddings.weight
    arrays = {key: torch.from_numpy(array) for key, array in batch().items()}
    states = model.bert(input_ids=arrays["tokens"], attention_mask=arrays["segments"]).last_hidden_state
    hidden = arrays["weights"].bool()
    masked = F.cross_entropy(model.cls(states)[hidden], arrays["targets"][hidden])
    losses = []
    for row, text in enumerate(hidden.tolist()):
        for start, end in spans(text):
            for place in range(start, min(end, start + 14) + 1):
                code = head["boundary_head.places"][place - start]
                x = torch.cat([states[row, start - 1], states[row, end + 1], code])
                for one in ("first", "second"):
                    weight, bias = (head[f"boundary_head.{one}.{kind}"] for kind in ("weight", "bias"))
                    scale, shift = (head[f"boundary_head.{one}_norm.{kind}"] for kind in ("weight", "bias"))
                    x = F.layer_norm(F.gelu(weight @ x + bias), (size,), scale, shift, 1e-12)
                logits = words @ x + head["boundary_head.bias"][: ref.VOCABULARY]
                losses.append(logits.logsumexp(0) - logits[arrays["targets"][row, place]])
    boundary = torch.stack(losses).mean()
    (masked + boundary).backward()
    found = {"masked_lm_loss": float(masked.detach()), "boundary_loss": float(boundary.detach())}
    gradients = {path: p.grad for path, p in [*model.named_parameters(), *head.items()] if p.grad is not None}
    return found, gradients


def test_layouts_equal_one_span_at_a_time() -> None:
    parts = run_world(2, in_each, LAYOUTS)
    alone = run_world(1, in_each, [{}])[0]
    found = [[part[index] for part in parts] for index in range(len(LAYOUTS))]
    for layout, ranks in zip([{}, *LAYOUTS], [alone, *found], strict=True):
        check(ranks, str(layout))


def check(parts: list[Part], layout: str) -> None:
    """The losses and gradients of one layout."""
    wanted, gradients = reference()
    for name, value in wanted.items():
        assert parts[-1].metrics[name] == pytest.approx(value, rel=1e-5), (layout, name)
    assert parts[-1].loss == pytest.approx(sum(wanted.values()), rel=1e-5)
    ours = whole_gradients(parts)
    named = links(BERT, config().model, FACTS, shapes(config().speaker, ref.VOCABULARY))
    pairs = [*exported(named, ours.__getitem__)]
    pairs += [(path, one) for path, one in ours.items() if path.startswith("boundary_head.")]
    compared = 0
    for path, one in pairs:
        if path in gradients:
            apart = float((one - gradients[path]).abs().max())
            assert apart <= 1e-4 * float(gradients[path].abs().max().clamp(min=1e-3)), (layout, path, apart)
            compared += 1
    assert compared > 40
    norm = torch.stack([one.square().sum() for one in ours.values()]).sum().sqrt()
    np.testing.assert_allclose([part.norm for part in parts], float(norm), rtol=1e-4, err_msg=layout)


def test_the_boundarys_head_is_counted() -> None:
    given = config()
    built = sum(torch.Size(one).numel() for one in shapes(given, ref.VOCABULARY).values())
    rows = flops.padded_vocabulary(ref.VOCABULARY)
    assert flops.parameters(given.model, rows, given.position_table, given.objective) == built
