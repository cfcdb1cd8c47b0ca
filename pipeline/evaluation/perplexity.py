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
from pipeline.evaluation.scoring import Continuation, LanguageModel, log_likelihoods

UNIGRAM_TOKENS = 50_000_000
"""The unigram model is fitted on at most so many train tokens; more change no digit."""


@dataclass(frozen=True)
class HeldOut:
    """The documents that are scored: token lists without <eos>, and how much they are of the split."""

    documents: list[list[int]]
    bytes: float
    whole_split: bool

    @property
    def predictions(self) -> int:
        """Number of predicted tokens: the texts' own and an <eos> each."""
        return sum(len(document) + 1 for document in self.documents)


def held_out(dataset: Dataset, split: str, seed: int, most_tokens: int) -> HeldOut:
    """The split's documents, or a seeded choice of about `most_tokens` tokens of them.

    The manifest counts bytes for the split alone, so a choice is given its share of them by tokens.
    """
    documents = [document for block in dataset.blocks(split) for document in block.documents()]
    order = np.random.default_rng([seed, *b"held out"]).permutation(len(documents))
    chosen, total = [], 0
    for index in order:
        if total >= most_tokens:
            break
        chosen.append(int(index))
        total += len(documents[index])
    entry = dataset.split(split)
    size = entry.total("text_bytes") * total / max(1, entry.total("tokens"))
    tokens = [documents[index].tolist() for index in sorted(chosen)]
    return HeldOut(tokens, size, len(chosen) == len(documents))


def windows(document: list[int], eos: int, length: int) -> list[Continuation]:
    """The windows of a document; the answers laid end to end are its tokens and <eos>.

    >>> windows([5, 6, 7], eos=3, length=2)
    [Continuation(context=[3], answer=[5, 6]), Continuation(context=[6], answer=[7, 3])]
    """
    ids = [eos, *document, eos]
    return [
        Continuation(ids[start : start + 1], ids[start + 1 : start + 1 + length])
        for start in range(0, len(ids) - 1, length)
    ]


def model_loss(model: LanguageModel, documents: HeldOut) -> dict[str, float]:
    """Loss, perplexity and bits per byte of a model."""
    vocabulary, length = model.vocabulary, model.config.data.sequence_length
    items = [
        window for document in documents.documents for window in windows(document, vocabulary.eos, length)
    ]
    return figures(-sum(log_likelihoods(model, items)), documents)


def unigram_loss(dataset: Dataset, documents: HeldOut) -> dict[str, float]:
    """The same of the unigram model of the train split, with one added to every count."""
    counts, seen = np.zeros(dataset.manifest.vocabulary_size), 0
    for block in dataset.blocks("train"):
        counts += np.bincount(block.tokens, minlength=len(counts))
        counts[dataset.vocabulary.eos] += len(block.lengths)
        seen += len(block.tokens)
        if seen >= UNIGRAM_TOKENS:
            break
    return figures(unigram_nats(counts, documents.documents, dataset.vocabulary.eos), documents)


def unigram_nats(counts: NDArray[np.float64], documents: list[list[int]], eos: int) -> float:
    """Sum of -ln of (count + 1) / (all counts + V) over the documents' tokens and their <eos>."""
    logs = np.log(counts + 1) - math.log(counts.sum() + len(counts))
    return float(-sum(logs[document].sum() + logs[eos] for document in documents))


def figures(nats: float, documents: HeldOut) -> dict[str, float]:
    """The three figures of a summed negative log-likelihood."""
    loss = nats / documents.predictions
    return {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700.0)),
        "bits_per_byte": nats / math.log(2) / documents.bytes,
    }
