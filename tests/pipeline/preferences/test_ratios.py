"""What is named where answers are not scored as they were drawn."""

import torch

from pipeline.preferences.ratios import cause, deviation, training_cause

FINE, OFF = 0.0, 0.1


def said(off: list[float], first: list[float], padded: list[bool], dtype: torch.dtype = torch.float32) -> str:
    return cause(torch.tensor(off), torch.tensor(first), torch.tensor(padded), dtype)


def test_the_deviation_of_an_answer_is_its_worst_ratio() -> None:
    logs = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, -1.0, -1.0]])
    sampled = torch.tensor([[-1.0, -2.1, 5.0], [-1.0, -1.0, -1.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    found = deviation(logs, sampled, mask)
    torch.testing.assert_close(found, torch.tensor([torch.e**0.1 - 1, 0.0]))


def test_every_cause_is_named() -> None:
    assert "left padding" in said([OFF, FINE], [OFF, FINE], [True, False])
    assert "the cache" in said([OFF, OFF], [FINE, FINE], [True, False])
    assert "stale weights" in said([OFF, OFF], [OFF, OFF], [False, False])
    assert "stale weights" in said([OFF, OFF], [OFF, OFF], [True, False])
    assert "bfloat16" in said([OFF, OFF], [OFF, OFF], [True, False], torch.bfloat16)
    assert "dropout" in training_cause(True, torch.float32)
    assert "bfloat16" in training_cause(False, torch.bfloat16)
    assert "masks or padding" in training_cause(False, torch.float32)
