"""A decoder with its cache gives the logits of the whole row: every kind of position, mask and block."""

import pytest
import torch
from torch import Tensor

from pipeline.generation.load import LoadedModel
from tests.pipeline.generation.models import BOTH, DECODERS, prompts, random_model
from tests.pipeline.generation.uncached import WithoutCache

STEPS = 6
LENGTHS = (3, 9, 1, 7)


def close(one: Tensor, other: Tensor) -> None:
    """Equal but for the order of sums, an ulp of float32 being 6e-8."""
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * float(other.abs().max()))


def whole(model: LoadedModel, row: list[int], **others: Tensor) -> Tensor:
    """[V] what follows a row that is read alone and at once."""
    with torch.inference_mode():
        return model.module({"tokens": torch.tensor([row]), **others})["logits"][-1, 0]


@pytest.mark.parametrize("family", DECODERS)
def test_a_padded_batch_gives_what_each_row_gives_alone(family: str) -> None:
    model = random_model(**DECODERS[family])
    rows, session = prompts(*LENGTHS), model.session()
    logits = session.start(rows, STEPS)
    for _ in range(STEPS):
        close(logits, torch.stack([whole(model, row) for row in rows]))
        tokens = logits.argmax(dim=1)
        rows = [[*row, token] for row, token in zip(rows, tokens.tolist(), strict=True)]
        logits = session.step(tokens)
    assert session.full


@pytest.mark.parametrize("family", DECODERS)
def test_contexts_that_are_read_once(family: str) -> None:
    """What follows each token of several rows behind three contexts; a row may be empty."""
    model = random_model(**DECODERS[family])
    contexts, owners = prompts(*LENGTHS[:3]), [0, 0, 1, 2, 2]
    rows = [*prompts(5, 2), [], *prompts(4, 1)]
    found = model.continued(contexts, owners, rows)
    for logits, owner, row in zip(found, owners, rows, strict=True):
        for size in range(len(row) + 1):
            close(logits[size], whole(model, [*contexts[owner], *row[:size]]))
    close(model.continued(contexts, [2, 1], [[], []])[:, 0], found[[3, 2], 0])


@pytest.mark.parametrize("family", BOTH)
def test_a_decoder_behind_an_encoder(family: str) -> None:
    kind = {"t5": "span_corruption", "bart": "denoising"}[family]
    model = random_model(kind, **BOTH[family])
    sources, rows = prompts(*LENGTHS), [[0] for _ in LENGTHS]
    session = model.session(sources)
    logits = session.start(rows, STEPS)
    for _ in range(STEPS):
        pairs = zip(rows, sources, strict=True)
        expected = [whole(model, row, encoder_tokens=torch.tensor([source])) for row, source in pairs]
        close(logits, torch.stack(expected))
        tokens = logits.argmax(dim=1)
        rows = [[*row, token] for row, token in zip(rows, tokens.tolist(), strict=True)]
        logits = session.step(tokens)


def test_a_prefix_is_seen_whole_and_what_follows_from_before_alone() -> None:
    model = random_model("prefix_lm")
    rows, session = prompts(5, 8), model.session()
    logits = session.start(rows, 4)
    prefixes = [torch.tensor([len(row)]) for row in rows]
    close(logits, torch.stack([whole(model, row, prefix=n) for row, n in zip(rows, prefixes, strict=True)]))
    causal = torch.stack([whole(model, row) for row in rows])
    assert not torch.allclose(logits, causal, atol=1e-2)
    for token in (7, 9):
        logits = session.step(torch.tensor([token, token]))
        rows = [[*row, token] for row in rows]
    close(logits, torch.stack([whole(model, row, prefix=n) for row, n in zip(rows, prefixes, strict=True)]))


@pytest.mark.parametrize("positions", ["learned", "alibi", "relative"])
def test_several_tokens_at_once_go_on_behind_a_cache(positions: str) -> None:
    model = random_model(positions=positions)
    [row], session = prompts(9), model.session()
    session.start([row[:4]], 5)
    with torch.inference_mode():
        close(session._run({"tokens": torch.tensor([row[4:]])})[0], whole(model, row))


@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
def test_rows_are_taken_repeated_and_left_out(architecture: str) -> None:
    both = architecture == "encoder_decoder"
    model = random_model("denoising" if both else "causal_lm")
    rows = prompts(4, 9, 2, 6)
    session, reference = (one.session(rows if both else None) for one in (model, WithoutCache(model)))
    rows = [[3] for _ in rows] if both else rows
    close(session.start(rows, 9), reference.start(rows, 9))
    for places, tokens in (([2, 0, 0, 1, 2], [5, 6, 7, 8, 9]), ([4, 3], [8, 8]), ([1, 0], [4, 5])):
        for one in (session, reference):
            one.select(torch.tensor(places))
        close(session.step(torch.tensor(tokens)), reference.step(torch.tensor(tokens)))
