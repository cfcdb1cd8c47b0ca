"""From scores to advantages: pure functions of arrays [R, S] of tokens, a mask of 1 on those of answers.

The rules are those of the published code of Stiennon et al. (2020) and of its reproduction (Huang et al.
2024).
"""

import torch
from torch import Tensor

HORIZON_CLIP = 0.2
"""Largest relative error that the adaptive coefficient reacts to (Ziegler et al. 2019, section 2.2)."""


def token_rewards(scores_R: Tensor, divergence_RS: Tensor, mask_RS: Tensor, coefficient: float) -> Tensor:
    """[R, S] -coefficient (log p - log ref) of each token, and the score on the answer's last one."""
    rewards = -coefficient * divergence_RS * mask_RS
    places = torch.arange(mask_RS.shape[1])
    last_R = (places * mask_RS).amax(1).long()
    rewards[torch.arange(len(rewards)), last_R] += scores_R
    return rewards


def generalised(
    values_RS: Tensor, rewards_RS: Tensor, mask_RS: Tensor, gamma: float, decay: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns [R, S] (GAE; Schulman et al. 2016): behind the last token the value is 0.

    delta_t = r_t + gamma V_{t+1} - V_t, A_t = delta_t + gamma decay A_{t+1}; returns are A + V, before any
    whitening.
    """
    values = values_RS * mask_RS
    following, after = torch.zeros(len(values)), torch.zeros(len(values))
    columns = []
    for place in reversed(range(values.shape[1])):
        inside = mask_RS[:, place]
        delta = rewards_RS[:, place] + gamma * after - values[:, place]
        following = torch.where(inside > 0, delta + gamma * decay * following, following)
        after = torch.where(inside > 0, values[:, place], after)
        columns.append(following * inside)
    advantages = torch.stack(columns[::-1], dim=1)
    return advantages, (advantages + values) * mask_RS


def whitened(values_RS: Tensor, mask_RS: Tensor, shift: bool = True) -> Tensor:
    """(x - mean) / sqrt(biased variance + 1e-8) over the mask; without `shift` the mean stays."""
    count = mask_RS.sum()
    mean = (values_RS * mask_RS).sum() / count
    variance = ((values_RS - mean).square() * mask_RS).sum() / count
    found = (values_RS - mean) * (variance + 1e-8).rsqrt()
    return (found if shift else found + mean) * mask_RS


def relative(scores_R: Tensor, group: int, by_deviation: bool = True) -> tuple[Tensor, int]:
    """[R] the score of each answer above its group's mean, and how many groups give no gradient.

    Groups are rows that follow one another. With `by_deviation` it is divided by the group's standard
    deviation (unbiased) + 1e-4.
    """
    scores_PG = scores_R.view(-1, group)
    found = scores_PG - scores_PG.mean(1, keepdim=True)
    if by_deviation:
        found = found / (scores_PG.std(1, keepdim=True) + 1e-4)
    alike = (scores_PG == scores_PG[:, :1]).all(1)
    return found.flatten(), int(alike.sum())


def adapted(coefficient: float, divergence: float, target: float, episodes: int, horizon: int) -> float:
    """The coefficient after a rollout of so many episodes with this divergence, a sum over tokens."""
    error = min(max(divergence / target - 1, -HORIZON_CLIP), HORIZON_CLIP)
    return coefficient * (1 + error * episodes / horizon)


def explained_variance(values_RS: Tensor, returns_RS: Tensor, mask_RS: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over the mask; 0 where returns do not vary."""
    inside = mask_RS > 0
    returns, left = returns_RS[inside].double(), (returns_RS - values_RS)[inside].double()
    total = float(returns.var(unbiased=False))
    return 1 - float(left.var(unbiased=False)) / total if total > 0 else 0.0
