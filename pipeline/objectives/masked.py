"""Masked language modelling: which tokens are hidden, by what, and the batch that predicts them.

Masking (Devlin et al. 2019): 15 % of the tokens are predicted; of these 80 % become <mask>, 10 % a random
token, 10 % stay. Whole words are hidden together (BERT's later release), or spans of whole words (SpanBERT;
Joshi et al. 2020). `<cls>`, `<sep>` and `<eos>` are never hidden. Whether a mask is static or drawn afresh
at each visit (RoBERTa; Liu et al. 2019) is decided by the keys of the samples.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.vocabulary import CLS, MASK, SEP, Vocabulary
from pipeline.config import DataConfig, ObjectiveConfig
from pipeline.objectives.batches import Batch
from pipeline.objectives.borders import borders
from pipeline.objectives.draws import Words, fractions, uniform, words, words_at
from pipeline.objectives.objective import MakeBatch, Objective, Shape
from pipeline.objectives.rows import entries, latest, picked
from pipeline.objectives.samples import Samples
from pipeline.objectives.sentences import Arranged, added_tokens, paired, single
from pipeline.objectives.special import SpecialTokens

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.build import Builder
    from pipeline.models.layer import Flow, Layer

CHOICE, ACTION, SUBSTITUTE, ANCHOR, LENGTH, LAST = range(40, 46)  # what a number is drawn for

SPAN_STOP = 0.2
"""SpanBERT's probability that a span ends after a word (section 3.1)."""
LONGEST_SPAN = 10
"""SpanBERT's longest span, in words."""


class MaskedLM(Objective):
    """BERT's objective: hidden tokens, and with a sentence task whether the second text belongs there."""

    needs = ("cls", "sep", "mask")
    blank = MASK

    @property
    def pairs(self) -> bool:
        """BERT's next sentence takes the wrong ones from other samples."""
        return self.settings.sentence_task == "next_sentence"

    @property
    def labels(self) -> tuple[str, ...]:
        """Hidden tokens; with weights of their own the sentence task's labels [B], what borders are asked."""
        own = ("next_sentence", "next_sentence_weights") if self.settings.has_sentence_task else ()
        asked = ("boundary_weights",) if self.settings.span_boundary else ()
        return ("targets", "weights", *own, *asked)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The parts of a loss that has several, and how often the sentence task is answered right."""
        settings = self.settings
        parts: tuple[str, ...] = ("boundary_loss",) if settings.span_boundary else ()
        parts += ("sentence_loss", "sentence_accuracy") if settings.has_sentence_task else ()
        return ("masked_lm_loss", *parts) if parts else ()

    def tokens(self, batch: Batch) -> int:
        """All but padding, which `segments` mark where there is any."""
        return int(batch["segments"].sum()) if "segments" in batch else batch["tokens"].size

    def every_token(self, batch: Batch) -> NDArray[np.float32]:
        """All but padding; a row of which nothing is hidden only fills up."""
        real = batch.get("segments", np.ones(batch["tokens"].shape, np.int32))
        return (real * (batch["weights"] > 0).any(axis=1, keepdims=True)).astype(np.float32)

    def shape(self, data: DataConfig) -> Shape:
        """Reserved tokens take room from the text."""
        length = data.sequence_length
        return Shape(length - added_tokens(self.settings.sentence_task), length)

    def make_batch(self, data: DataConfig, special: SpecialTokens) -> MakeBatch:
        """What `masked_lm` makes of one text a sample, or of two."""
        del data
        return partial(masked_texts, special=special, settings=self.settings)

    def framed(self, vocabulary: Vocabulary, ids: Sequence[int]) -> list[int]:
        """A text stands between `<cls>` and `<sep>`."""
        return [vocabulary.id_of(CLS), *ids, vocabulary.id_of(SEP)]

    def describe(self) -> str:
        """What is hidden, how, and the second task."""
        settings = self.settings
        drawn = "once for all epochs" if settings.static_masks else "afresh in each epoch"
        task = f", beside {settings.sentence_task}" if settings.has_sentence_task else ""
        task += ", and by the borders of hidden spans" if settings.span_boundary else ""
        share = f"{settings.kind}: {100 * settings.density:g} % of the tokens hidden"
        return f"{share} by {settings.masking}, drawn {drawn}{task}"

    def head(self, build: "Builder") -> "list[Layer]":
        """The sentence task's head on the first token, then the transform and bias of the hidden tokens'."""
        from pipeline.models.heads import MLMHead, SentenceHead
        from pipeline.models.layer import Layer

        found = build.project_out()
        if self.settings.has_sentence_task:
            gives = ("next_sentence_logits",)
            found.append(Layer("next_sentence", SentenceHead, build.common, gives=gives))
        if self.settings.span_boundary:
            from pipeline.objectives.boundary import boundary

            found += boundary(build, self.settings.density)
        masked = Layer("masked_head", MLMHead, (*build.common, build.rows), gives=("logit_bias",))
        return [*found, masked, build.logits()]

    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """The hidden tokens' weighted cross-entropy; those of borders and of the sentence task are added."""
        from pipeline.objectives.losses import weighted_classes

        total, _ = super().__call__(outputs, labels)
        found = {"masked_lm_loss": total.detach()}
        if self.settings.span_boundary:
            boundary = (outputs["boundary_losses"] * labels["boundary_weights"]).sum()
            total, found = total + boundary, found | {"boundary_loss": boundary.detach()}
        if not self.settings.has_sentence_task:
            return total, {name: found[name] for name in self.metrics}
        logits_B2, labels_B = outputs["next_sentence_logits"], labels["next_sentence"]
        weights_B, smoothing = labels["next_sentence_weights"], self.settings.label_smoothing
        sentence, accuracy = weighted_classes(logits_B2, labels_B, weights_B, smoothing)
        return total + sentence, found | {"sentence_loss": sentence.detach(), "sentence_accuracy": accuracy}


def masked_texts(samples: Samples, special: SpecialTokens, settings: ObjectiveConfig) -> Batch:
    """Samples as one text or as two with a sentence task, some of their tokens hidden."""
    if settings.has_sentence_task:
        arranged = paired(samples, special, settings.sentence_task)
    else:
        arranged = single(samples, special)
    batch = masked_lm(arranged, samples.keys, special, settings.masking, settings.density)
    if settings.span_boundary:
        batch |= borders(batch["weights"] > 0, arranged.tokens)
    return batch


def masked_lm(
    arranged: Arranged, keys: Words, special: SpecialTokens, masking: str = "token", density: float = 0.15
) -> Batch:
    """Inputs with hidden tokens, and the tokens as they were; only the hidden ones have a weight.

    With <cls> = 4, <sep> = 5, <mask> = 6 and 11 hidden, the text 10 11 12 gives

        tokens  4 10  6 12 5
        targets 4 10 11 12 5
        weights 0  0  1  0 0
    """
    tokens = arranged.tokens
    hidden, groups = chosen(arranged, keys, special, masking, density)
    return {
        "tokens": replace(tokens, hidden, groups, keys, special),
        "targets": tokens,
        "weights": hidden.astype(np.float32),
    } | arranged.extra


Hidden = tuple[NDArray[np.bool_], NDArray[np.int32] | None]
"""Which positions are hidden [B, S], and which draw decides what replaces each; None is a draw of its own."""


def chosen(arranged: Arranged, keys: Words, special: SpecialTokens, masking: str, density: float) -> Hidden:
    """What is hidden by one of the three ways."""
    tokens, ordinary = arranged.tokens, arranged.ordinary
    if masking == "token":
        return hide_tokens(ordinary, keys, density)
    hide = hide_words if masking == "whole_word" else hide_spans
    return hide(ordinary, special.starts_word(tokens), keys, density)


def hide_tokens(ordinary: NDArray[np.bool_], keys: Words, density: float) -> Hidden:
    """Each ordinary token is hidden by a draw of its own."""
    drawn = words(keys, ordinary.shape[1], CHOICE)
    return ordinary & (drawn < np.uint64(density * 2.0**64)), None


def hide_words(ordinary: NDArray[np.bool_], starts: NDArray[np.bool_], keys: Words, density: float) -> Hidden:
    """Each word is hidden by one draw for all its tokens; what replaces them is drawn per token."""
    hidden, _ = hide_tokens(np.ones_like(ordinary), keys, density)
    return ordinary & picked(hidden, first_of_word(ordinary, starts)), None


def hide_spans(ordinary: NDArray[np.bool_], starts: NDArray[np.bool_], keys: Words, density: float) -> Hidden:
    """Spans of whole words at random places, until `density` of the ordinary tokens is hidden.

    A span that meets a hidden one, or a token that is not ordinary, is drawn again. The one that goes past
    the budget is kept with the probability that makes the expected number of hidden tokens the budget. All of
    a span is replaced alike (SpanBERT, section 3.1).
    """
    width = ordinary.shape[1]
    budget = density * ordinary.sum(axis=1)
    most = 4 + 2 * int(budget.max(initial=0.0))
    # A draw is a function of its number, so that the first of few are the first of many.
    for count in (most // 3, most):
        spans = candidate_spans(ordinary, starts, keys, count)
        hidden, groups, enough = placed_spans(spans, budget, keys, width)
        if enough:
            break
    return hidden, groups


def placed_spans(
    spans: tuple[NDArray[np.int32], NDArray[np.int32]], budget: NDArray[np.float64], keys: Words, width: int
) -> tuple[NDArray[np.bool_], NDArray[np.int32], bool]:
    """What candidates hide, as `Hidden`, and whether they were enough to use the budget up."""
    starts_at, ends_at = (np.ascontiguousarray(one.T) for one in spans)  # a row for each turn
    last = uniform(keys, 1, LAST)[:, 0]
    kept_starts, kept_ends = np.full_like(starts_at, width), np.full_like(ends_at, width)
    left = budget.copy()
    for turn, (start, end) in enumerate(zip(starts_at, ends_at, strict=True)):
        size = end - start
        taken = ((start < kept_ends[:turn]) & (end > kept_starts[:turn])).any(axis=0)
        clear = (left > 0) & (size > 0) & ~taken
        kept = clear & ((size <= left) | (last * size < left))
        np.copyto(kept_starts[turn], start, where=kept)
        np.copyto(kept_ends[turn], end, where=kept)
        left -= np.where(clear, size, 0)
        if not (left > 0).any():
            break
    kept_starts, kept_ends = kept_starts[: turn + 1].T, kept_ends[: turn + 1].T
    # Of 8 tokens the spans [2, 4) and [6, 7):  kept_starts 2 6 8 8..   kept_ends 4 7 8 8..   (8 is none)
    #   steps   0 0 1 0 -1 0 1 -1 0     its running sum   0 0 1 1 0 0 1 0   is what is hidden
    #   groups  0 0 2 2  2 2 6  6       the start of the span that a token is in, if it is in one
    rows = np.arange(len(keys))[:, None]
    steps = np.zeros((len(keys), width + 1), np.int8)
    steps[rows, kept_starts] = 1
    groups = latest(steps[:, :-1] > 0)
    steps[rows, kept_ends] -= 1  # no two spans end at one place but that of none, which does not count
    hidden = np.cumsum(steps[:, :-1], axis=1, dtype=np.int8).astype(bool)
    return hidden, groups, not (left > 0).any()


def candidate_spans(
    ordinary: NDArray[np.bool_], starts: NDArray[np.bool_], keys: Words, count: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """[B, count] where spans of whole words start and end; empty where a token in one is not ordinary."""
    rows, width = np.arange(len(keys))[:, None], ordinary.shape[1]
    first = first_of_word(ordinary, starts)
    is_first = first == np.arange(width, dtype=np.int32)
    number = np.cumsum(is_first, axis=1, dtype=np.int32) - 1
    word_starts = np.full((len(keys), width + LONGEST_SPAN + 1), width, np.int32)
    flat, row = entries(is_first)
    word_starts[row, number.reshape(-1)[flat]] = flat - row * width
    anchors = (uniform(keys, count, ANCHOR) * width).astype(np.int64)
    begin = first[rows, anchors]
    end = word_starts[rows, number[rows, anchors] + span_lengths(uniform(keys, count, LENGTH))]
    others = np.zeros((len(keys), width + 1), np.int32)
    np.cumsum(~ordinary, axis=1, dtype=np.int32, out=others[:, 1:])
    return begin, np.where(others[rows, end] > others[rows, begin], begin, end)


def span_lengths(drawn: NDArray[np.float64]) -> NDArray[np.int64]:
    """Lengths of spans in words from uniform numbers: geometric, cut off at 10 (their mean is 3.8)."""
    below = drawn * (1 - (1 - SPAN_STOP) ** LONGEST_SPAN)
    lengths: NDArray[np.int64] = 1 + (np.log1p(-below) / np.log1p(-SPAN_STOP)).astype(np.int64)
    return np.minimum(lengths, LONGEST_SPAN)


def first_of_word(ordinary: NDArray[np.bool_], starts: NDArray[np.bool_]) -> NDArray[np.int32]:
    """[B, S] the position of the first token of each token's word; a reserved token is a word by itself."""
    heads = starts | ~ordinary
    heads[:, 1:] |= ~ordinary[:, :-1]
    heads[:, 0] = True
    return latest(heads)


def replace(
    tokens: NDArray[Any],
    hidden: NDArray[np.bool_],
    groups: NDArray[np.int32] | None,
    keys: Words,
    special: SpecialTokens,
) -> NDArray[Any]:
    """Of the hidden tokens 80 % become <mask>, 10 % a random ordinary token, 10 % stay."""
    flat, row = entries(hidden)
    place = flat - row * tokens.shape[1]
    decides = place if groups is None else groups.reshape(-1)[flat]
    action = fractions(words_at(keys[row], decides, ACTION))
    replaced = tokens.copy()
    replaced.reshape(-1)[flat[action < 0.8]] = special.mask
    random = (action >= 0.8) & (action < 0.9)
    drawn = words_at(keys[row[random]] + place[random].astype(np.uint64), np.zeros(1), SUBSTITUTE)
    replaced.reshape(-1)[flat[random]] = special.ordinary[drawn % np.uint64(len(special.ordinary))]
    return replaced
