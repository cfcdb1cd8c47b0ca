"""Losses beside those of trl's trainers, called without a trainer, to 1e-6; skipped where trl is missing."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor

from pipeline.distributed import world
from pipeline.objectives.dpo import DPO, REFERENCE
from pipeline.objectives.grpo import AGGREGATIONS, GRPO, Aggregation, token_weights
from pipeline.preferences.advantages import relative
from tests.pipeline.objectives.test_policy import LONGEST, MASK, ROWS, labels, log_probabilities, logits

pytestmark = pytest.mark.slow


def same(value: Any, *args: Any, **kwargs: Any) -> Any:
    """What an accelerator of one process gathers and reduces."""
    return value


def trainer(**own: Any) -> MagicMock:
    """As much of a trainer as a loss asks for."""
    found = MagicMock()
    found.model.training = False
    found.accelerator = SimpleNamespace(
        gather=same, gather_for_metrics=same, reduce=same, num_processes=1, device=torch.device("cpu")
    )
    found.aux_loss_enabled = found.use_vllm = found._entropy_bonus_enabled = found.use_weighting = False
    for name, value in own.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_grpo_is_trls(aggregation: Aggregation) -> None:
    """With clipping, its divergence and each way to average that both have."""
    theirs = pytest.importorskip("trl.trainer.grpo_trainer").GRPOTrainer
    world.start_alone()
    given = labels()
    advantages_R, _ = relative(torch.tensor([1.0, 0.0, 3.0]), ROWS)
    given["advantages"] = advantages_R.unsqueeze(1) * MASK
    weights = token_weights(MASK, aggregation, LONGEST)
    given["token_weights"] = weights / weights.sum()
    loss, _ = GRPO(0.04, 0.2, 0.28, 1.0)({"logits": logits()}, given)
    logs = log_probabilities(logits(), given["targets"])
    asked = trainer(
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=0.04,
        loss_type=aggregation,
        epsilon_low=0.2,
        epsilon_high=0.28,
        max_completion_length=LONGEST,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logs, torch.zeros_like(logs), None),
    )
    empty = torch.zeros(ROWS, 0, dtype=torch.long)
    inputs = {
        "prompt_ids": empty,
        "prompt_mask": empty,
        "completion_ids": given["targets"],
        "completion_mask": MASK,
        "advantages": advantages_R.double(),
        "old_per_token_logps": given["old_logs"].double(),
        "ref_per_token_logps": given["reference_logs"].double(),
        "num_items_in_batch": MASK.sum(),
    }
    expected = theirs._compute_loss(asked, asked.model, inputs)
    assert float(loss) == pytest.approx(float(expected), abs=1e-6)


def test_dpo_is_trls() -> None:
    """The sigmoid loss on sums over answers; theirs has all chosen answers before all rejected ones."""
    theirs = pytest.importorskip("trl.trainer.dpo_trainer").DPOTrainer
    world.start_alone()
    rows = 4
    draws = torch.Generator().manual_seed(0)
    logits_SBV = torch.randn((6, rows, 11), generator=draws)
    targets = torch.randint(0, 11, (rows, 6), generator=draws)
    answers = torch.tensor([[0, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0], [1] * 6, [0, 0, 0, 0, 0, 1]]).float()
    reference = -torch.randn((rows, 6), generator=draws).abs() * answers
    given = {
        "targets": targets,
        "answers": answers,
        "pair_weights": torch.tensor([[[0.0, 1.0], [0.0, 0.0]]] * 2),
        REFERENCE: reference,
    }
    loss, _ = DPO(0.3)({"logits": logits_SBV}, given)
    order = [0, 2, 1, 3]
    logs = (log_probabilities(logits_SBV, targets) * answers)[order]
    sums = reference.double().sum(1)

    def policy(**inputs: Any) -> SimpleNamespace:
        zeros = torch.zeros_like(logs)
        return SimpleNamespace(log_probs=logs, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())

    asked = trainer(
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=["sigmoid"],
        loss_weights=[1.0],
        beta=0.3,
    )
    expected = theirs._compute_loss(asked, policy, dpo_inputs(targets, answers, sums, order), False)
    assert float(loss) / 2 == pytest.approx(float(expected), abs=1e-6)


def dpo_inputs(targets: Tensor, answers: Tensor, sums: Tensor, order: list[int]) -> dict[str, Tensor]:
    """A batch as trl's collator makes it: masks have one place more than there are predictions."""
    first = torch.zeros(len(targets), 1)
    return {
        "input_ids": torch.cat([first.long(), targets], dim=1)[order],
        "attention_mask": torch.ones(len(targets), targets.shape[1] + 1),
        "completion_mask": torch.cat([first, answers], dim=1)[order].long(),
        "ref_chosen_logps": sums[[0, 2]],
        "ref_rejected_logps": sums[[1, 3]],
    }
