"""Loss, perplexity and bits per byte on held-out documents, and what a unigram model scores on the same.

A document is `<eos>`, its tokens, `<eos>`, as in pretraining, where the end of the document before stands at
the start of each; every token after the first `<eos>` is predicted once. It is cut into windows of S inputs
that overlap by no prediction: each window begins at the last token of the one before, so a prediction sees
between 1 and S tokens of its own document and none of another.

    loss            mean of -ln p over the predicted tokens, in nats
    perplexity      e to the loss
    bits per byte   the documents' whole -log2 p by the UTF-8 bytes of their texts, whatever the tokenizer
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from pipeline.evaluation.scoring import Continuation, LanguageModel, log_likelihoods

UNIGRAM_TOKENS = 50_000_000
"""The unigram model is fitted on at most so many train tokens; more change no digit."""


@dataclass(frozen=True)
class HeldOut:
    """The windows that are scored, and what they are of the split."""

    windows: list[Continuation]
    documents: int
    """Number of documents that the windows are of."""
    bytes: float
    """UTF-8 bytes of the text in the windows."""
    whole_split: bool

    @property
    def predictions(self) -> int:
        """Number of predicted tokens."""
        return sum(len(window.answer) for window in self.windows)


def held_out(dataset: Dataset, split: str, length: int, seed: int, most_tokens: int) -> HeldOut:
    """The split's windows of `length` tokens, or a seeded choice of them with about `most_tokens`.

    The manifest counts bytes for the split alone, so a choice is given its share of them by predicted tokens.
    Raises `InputError` where the split is empty.
    """
    eos = dataset.vocabulary.eos
    documents = [document for block in dataset.blocks(split) for document in block.documents()]
    if not documents:
        raise InputError(
            f"{dataset.folder}: its {split} split is empty; prepare it with a larger corpus.validation_share"
        )
    sizes = np.array([len(document) + 1 for document in documents], dtype=np.int64)
    numbers = -(-sizes // length)
    first = numbers.cumsum() - numbers
    found, of, predictions = [], set(), 0
    for place in np.random.default_rng([seed, *b"held out"]).permutation(int(numbers.sum())):
        if predictions >= most_tokens:
            break
        index = int(np.searchsorted(first, place, side="right")) - 1
        found.append(window(documents[index].tolist(), eos, int(place - first[index]), length))
        of.add(index)
        predictions += len(found[-1].answer)
    share = predictions / max(1, int(sizes.sum()))
    size = dataset.split(split).total("text_bytes") * share
    return HeldOut(found, len(of), size, len(found) == int(numbers.sum()))


def window(document: list[int], eos: int, number: int, length: int) -> Continuation:
    """A window of a document; the answers of all of them laid end to end are its tokens and <eos>.

    >>> [window([5, 6, 7], eos=3, number=number, length=2) for number in (0, 1)]
    [Continuation(context=[3], answer=[5, 6]), Continuation(context=[6], answer=[7, 3])]
    """
    ids, start = [eos, *document, eos], number * length
    return Continuation(ids[start : start + 1], ids[start + 1 : start + 1 + length])


def model_loss(model: LanguageModel, held: HeldOut) -> dict[str, float]:
    """Loss, perplexity and bits per byte of a model."""
    return figures(-sum(log_likelihoods(model, held.windows)), held)


def unigram_loss(dataset: Dataset, held: HeldOut) -> dict[str, float]:
    """The same of the unigram model of the train split, with one added to every count."""
    logs = unigram_logs(token_counts(dataset))
    scored = [token for window in held.windows for token in window.answer]
    return figures(float(-logs[scored].sum()), held)


def token_counts(dataset: Dataset) -> NDArray[np.float64]:
    """[V] how often each token is in the train split, where an `<eos>` ends each document."""
    counts, seen = np.zeros(dataset.manifest.vocabulary_size), 0
    for block in dataset.blocks("train"):
        counts += np.bincount(block.tokens, minlength=len(counts))
        counts[dataset.vocabulary.eos] += len(block.lengths)
        seen += len(block.tokens)
        if seen >= UNIGRAM_TOKENS:
            break
    return counts


def unigram_logs(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln of (count + 1) / (all counts + their number)."""
    logs: NDArray[np.float64] = np.log(counts + 1) - math.log(counts.sum() + len(counts))
    return logs


def describe(dataset: Dataset, held: HeldOut) -> dict[str, object]:
    """What the validation figures are of."""
    part = "all windows" if held.whole_split else f"{len(held.windows):,} windows, chosen by the seed,"
    return {
        "dataset": dataset.manifest.fingerprint,
        "documents": held.documents,
        "windows": len(held.windows),
        "predicted_tokens": held.predictions,
        "whole_split": held.whole_split,
        "about": f"{held.predictions:,} predicted tokens without overlap, {part} of {held.documents:,} "
        "validation documents",
    }


def figures(nats: float, held: HeldOut) -> dict[str, float]:
    """The three figures of a summed negative log-likelihood."""
    loss = nats / held.predictions
    return {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700.0)),
        "bits_per_byte": nats / math.log(2) / held.bytes,
    }
