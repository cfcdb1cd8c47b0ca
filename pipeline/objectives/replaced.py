"""ELECTRA's objective: which tokens a generator replaced (Clark et al. 2020; the authors' code).

15 % of the tokens are hidden, of these 85 % by <mask> while the others stay. The generator learns to say what
stood there, and what it draws takes their places; the discriminator learns of every token that is no padding
whether it is another one than before, so a token that the generator drew right counts as original. The loss
is the generator's mean over hidden tokens, and `discriminator_weight` times the discriminator's over all.
"""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config import DataConfig
from pipeline.config.generator import generator_of
from pipeline.objectives.batches import Batch
from pipeline.objectives.draws import uniform
from pipeline.objectives.masked import ACTION, MaskedLM, chosen
from pipeline.objectives.objective import MakeBatch
from pipeline.objectives.samples import Samples
from pipeline.objectives.sentences import single
from pipeline.objectives.special import SpecialTokens

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.config import ObjectiveConfig
    from pipeline.models.build import Builder
    from pipeline.models.layer import Flow, Layer

DRAW = 70  # what a number is drawn for
MASKED = 0.85
"""Share of hidden tokens that <mask> stands for."""


class ReplacedTokens(MaskedLM):
    """ELECTRA's objective: hidden tokens for a generator, and for a discriminator which ones it replaced."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The text as it was, the weights of hidden tokens and of all."""
        return ("targets", "weights", "token_weights")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The parts of the loss; how often the generator draws right; the share of tokens that are replaced.

        The discriminator's area under the curve of hits over false alarms is a mean over micro batches.
        """
        return (
            "generator_loss",
            "discriminator_loss",
            "generator_accuracy",
            "discriminator_auc",
            "replaced_share",
        )

    def make_batch(self, data: DataConfig, special: SpecialTokens) -> MakeBatch:
        """What `replaced_tokens` makes of one text a sample."""
        del data
        return partial(replaced_tokens, special=special, settings=self.settings)

    def describe(self) -> str:
        """What is hidden, and who is asked about it."""
        settings = self.settings
        share = f"{settings.kind}: {100 * settings.density:g} % of the tokens hidden by {settings.masking}"
        return f"{share} and drawn by a generator {settings.generator_share:g} as wide"

    def layers(self, build: "Builder") -> "list[Layer]":
        """Both encoders."""
        from pipeline.objectives.replacing import two_encoders

        return two_encoders(build, generator_of(build.model, self.settings), self.settings.density)

    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """The generator's mean loss, and the discriminator's with its weight."""
        import torch.nn.functional as F

        logits_BS, drawn_BS = outputs["discriminator_logits"].float(), outputs["drawn"]
        weights_BS, every_BS = labels["weights"], labels["token_weights"]
        replaced_BS = (drawn_BS != labels["targets"]).float()
        losses_BS = F.binary_cross_entropy_with_logits(logits_BS, replaced_BS, reduction="none")
        generator = (outputs["generator_losses"] * weights_BS).sum()
        discriminator = (losses_BS * every_BS).sum()
        found = {
            "generator_loss": generator.detach(),
            "discriminator_loss": discriminator.detach(),
            "generator_accuracy": ((1 - replaced_BS) * weights_BS).sum(),
            "discriminator_auc": area(logits_BS.detach(), replaced_BS, every_BS) * every_BS.sum(),
            "replaced_share": (replaced_BS * every_BS).sum(),
        }
        return generator + self.settings.discriminator_weight * discriminator, found


def replaced_tokens(samples: Samples, special: SpecialTokens, settings: "ObjectiveConfig") -> Batch:
    """Inputs with hidden tokens, the tokens as they were, and a number for the draw at each hidden one.

    With <cls> = 4, <sep> = 5, <mask> = 6 and 11 hidden, the text 10 11 12 gives

        tokens         4 10  6 12 5      draws          -1 -1 1234 -1 -1
        originals      4 10 11 12 5      weights         0  0    1  0  0
        targets        4 10 11 12 5      token_weights   1  1    1  1  1
    """
    arranged = single(samples, special)
    hidden, groups = chosen(arranged, samples.keys, special, settings.masking, settings.density)
    width = arranged.tokens.shape[1]
    action = uniform(samples.keys, width, ACTION)
    if groups is not None:
        action = np.take_along_axis(action, groups, axis=1)
    draws = (uniform(samples.keys, width, DRAW) * 2.0**31).astype(np.int32)
    real = arranged.extra.get("segments", np.ones(arranged.tokens.shape, np.int32))
    return {
        "tokens": np.where(hidden & (action < MASKED), special.mask, arranged.tokens),
        "originals": arranged.tokens,
        "draws": np.where(hidden, draws, -1).astype(np.int32),
        "targets": arranged.tokens,
        "weights": hidden.astype(np.float32),
        "token_weights": real.astype(np.float32),
    } | arranged.extra


def area(scores_BS: "Tensor", labels_BS: "Tensor", weights_BS: "Tensor") -> "Tensor":
    """The chance that a token of label 1 has a higher score than one of label 0, ties half; .5 without both.

    Only tokens with a weight count, each the same (the Mann-Whitney form of the area under the ROC curve).
    """
    real = weights_BS > 0
    scores, labels = scores_BS[real], labels_BS[real].double()
    _, places, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[places]
    ones = labels.sum()
    zeros = len(labels) - ones
    wins = (ranks * labels).sum() - ones * (ones + 1) / 2
    both = ones * zeros
    return (wins / both.clamp(min=1)).where(both > 0, 0.5).float()
