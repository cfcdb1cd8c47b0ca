"""What encoders and encoder-decoders predict of held-out text: the loss of the recipe's own objective.

The samples are those of the validation split, hidden or damaged as in training. Noise is a function of each
sample's key, so every model and every run of the same recipe is asked for the very same tokens.

    loss           mean of -ln p over the hidden tokens of text, in nats
    perplexity     e to the loss
    accuracy       share of the hidden tokens that the model finds likeliest
    shuffled_loss  the loss where the words that are left of each sample stand in another order, the same for
                   every model: one that does no worse reads a bag of words, as young encoders do
    target_loss    of an encoder-decoder, the mean over whole targets, sentinels and <eos> with them: what
                   training calls its validation loss

Sentinels and the target's `<eos>` follow from the input and are nearly free, so `loss` leaves them out, and
with them what a unigram model would be easily beaten at.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from pipeline.config import EvaluationConfig, PipelineConfig
from pipeline.data.maker import cutting
from pipeline.data.stream import SampleStream
from pipeline.data.tables import special_tokens
from pipeline.evaluation.perplexity import token_counts, unigram_logs
from pipeline.evaluation.scoring import TOKENS_PER_BATCH, LanguageModel, batch_logits
from pipeline.objectives.batches import Batch
from pipeline.objectives.registry import objective_of


@dataclass(frozen=True)
class Hidden:
    """Batches of held-out samples, and which of their predictions are tokens of text."""

    batches: list[Batch]
    ordinary: NDArray[np.bool_]
    """[V] which tokens text is made of."""
    samples: int
    whole_split: bool

    def text(self, batch: Batch) -> NDArray[np.bool_]:
        """[B, S] the predictions that are tokens of text."""
        text: NDArray[np.bool_] = (batch["weights"] > 0) & self.ordinary[batch["targets"]]
        return text

    @property
    def tokens(self) -> NDArray[np.int64]:
        """The hidden tokens of text, in order."""
        return np.concatenate([batch["targets"][self.text(batch)] for batch in self.batches])


TARGETS = 2_000_000
"""The unigram model of whole targets is fitted on those of train samples with about so many tokens."""


def hidden(config: EvaluationConfig, dataset: Dataset) -> Hidden:
    """The validation split's samples, or a seeded choice with about `eval.validation_tokens` tokens.

    Raises `InputError` where the split is empty or nothing of it is hidden.
    """
    ordinary = np.zeros(dataset.vocabulary.size, bool)
    ordinary[special_tokens(dataset.vocabulary).ordinary] = True
    batches, whole = samples(config, dataset, "validation", config.eval.validation_tokens)
    found = Hidden(batches, ordinary, sum(len(batch["targets"]) for batch in batches), whole)
    if not len(found.tokens):
        raise InputError(
            f"{dataset.folder}: nothing is hidden in its validation split, which is too short; prepare it "
            "with a larger corpus.validation_share"
        )
    return found


def samples(config: PipelineConfig, dataset: Dataset, split: str, tokens: int) -> tuple[list[Batch], bool]:
    """Samples of a split with about as many tokens, in batches, and whether they are all there are."""
    stream = SampleStream(dataset, split, cutting(config), config.seed)
    objective = objective_of(config.objective)
    make = objective.batches(config.data, special_tokens(dataset.vocabulary))
    count = min(stream.order.samples, -(-tokens // stream.order.width))
    rows = max(1, TOKENS_PER_BATCH // max(objective.shape(config.data).lengths))
    starts = range(0, count, rows)
    batches = [make(stream.samples(np.arange(start, min(start + rows, count)))) for start in starts]
    return batches, count == stream.order.samples


def model_loss(model: LanguageModel, held: Hidden) -> dict[str, float]:
    """A model's figures on the hidden tokens; an encoder-decoder has a target loss too."""
    nats = right = whole = shuffled_nats = 0.0
    for number, batch in enumerate(held.batches):
        losses, correct = predictions(model, batch)
        text = held.text(batch)[batch["weights"] > 0]
        nats, whole = nats + float(losses[text].sum()), whole + float(losses.sum())
        right += int(correct[text].sum())
        losses, _ = predictions(model, shuffled(batch, held.ordinary, number))
        shuffled_nats += float(losses[text].sum())
    count = len(held.tokens)
    found = figures(nats / count, right / count) | {"shuffled_loss": shuffled_nats / count}
    if "encoder_tokens" in held.batches[0]:
        found["target_loss"] = whole / len(_predicted(held.batches))
    return found


def shuffled(batch: Batch, ordinary: NDArray[np.bool_], seed: int) -> Batch:
    """A batch that asks the same, with what a model reads of text in another order.

    Sentinels and masks stay where they are, and so does what is asked for.
    """
    name = "encoder_tokens" if "encoder_tokens" in batch else "tokens"
    tokens, rng = batch[name].copy(), np.random.default_rng(seed)
    movable = ordinary[tokens]
    if name == "tokens":
        movable &= batch["weights"] == 0
    for row, free in zip(tokens, movable, strict=True):
        row[free] = rng.permutation(row[free])
    return batch | {name: tokens}


def predictions(model: LanguageModel, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """-ln p of every predicted token of a batch in order, and whether it is the likeliest."""
    import torch

    labels = objective_of(model.config.objective).labels
    inputs = {name: array for name, array in batch.items() if name not in labels}
    rows, columns = np.nonzero(batch["weights"] > 0)
    logits_PV = batch_logits(model, inputs)[rows, columns, : model.vocabulary.size]
    targets_P = torch.from_numpy(batch["targets"][rows, columns]).to(logits_PV.device)
    losses_P = torch.nn.functional.cross_entropy(logits_PV, targets_P, reduction="none")
    correct_P = logits_PV.argmax(dim=-1) == targets_P
    return losses_P.double().cpu().numpy(), correct_P.cpu().numpy()


def unigram_loss(config: EvaluationConfig, dataset: Dataset, held: Hidden) -> dict[str, float]:
    """The same of the unigram model of the train split's text, with one added to every count.

    That of whole targets is fitted on whole targets of the train split.
    """
    counts = token_counts(dataset)[held.ordinary]
    number = np.cumsum(held.ordinary) - 1
    tokens = number[held.tokens]
    logs = unigram_logs(counts)
    found = figures(float(-logs[tokens].mean()), float((tokens == counts.argmax()).mean()))
    if "encoder_tokens" in held.batches[0]:
        seen = _predicted(samples(config, dataset, "train", TARGETS)[0])
        whole = unigram_logs(np.bincount(seen, minlength=len(held.ordinary)).astype(np.float64))
        found["target_loss"] = float(-whole[_predicted(held.batches)].mean())
    return found


def _predicted(batches: list[Batch]) -> NDArray[np.int64]:
    """Every token that is predicted."""
    return np.concatenate([batch["targets"][batch["weights"] > 0] for batch in batches])


def figures(loss: float, accuracy: float) -> dict[str, float]:
    """The figures of a mean negative log-likelihood."""
    return {"loss": loss, "perplexity": math.exp(min(loss, 700.0)), "accuracy": accuracy}


def describe(config: EvaluationConfig, dataset: Dataset, held: Hidden) -> dict[str, object]:
    """What the validation figures are of."""
    generator = ", asked of the generator" if config.generator else ""
    part = "all" if held.whole_split else "a seeded choice of the"
    count, objective = len(held.tokens), config.objective
    return {
        "dataset": dataset.manifest.fingerprint,
        "objective": objective.kind,
        "samples": held.samples,
        "predicted_tokens": count,
        "whole_split": held.whole_split,
        "about": f"{count:,} hidden tokens of {part} validation text, in {held.samples:,} samples "
        f"({objective.kind} with a density of {objective.density:g}, the same noise for every model"
        f"{generator})",
    }
