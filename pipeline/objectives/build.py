"""From the recipe's `objective` section to the function that makes batches of samples."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import DataConfig, ObjectiveConfig
from pipeline.objectives.batches import Batch
from pipeline.objectives.causal import causal_lm, inside_documents, prefix_lm
from pipeline.objectives.denoising import NoiseSettings, denoising
from pipeline.objectives.masked import masked_lm
from pipeline.objectives.samples import Samples
from pipeline.objectives.sentences import added_tokens, paired, single
from pipeline.objectives.spans import SpanLengths, longest_raw, span_corruption
from pipeline.objectives.special import ABSENT, SpecialTokens

MakeBatch = Callable[[Samples], Batch]
NEEDS = {"masked_lm": ("cls", "sep", "mask"), "denoising": ("mask",)}
"""Special tokens that not every published tokenizer has; span corruption counts its sentinels."""


@dataclass(frozen=True)
class Shape:
    """Lengths that an objective leads to, the same for every batch.

    width     stream positions that a sample is made of
    inputs    tokens that the model's first stack sees: the encoder's, or a lone decoder's or encoder's
    targets   tokens of the decoder behind an encoder; None where there is none
    """

    width: int
    inputs: int
    targets: int | None


def span_lengths(objective: ObjectiveConfig, data: DataConfig) -> SpanLengths:
    """The lengths of span corruption whose input fills the sequence length."""
    return longest_raw(
        data.sequence_length, objective.density, objective.mean_span, objective.closing_sentinel
    )


def shape(objective: ObjectiveConfig, data: DataConfig) -> Shape:
    """The lengths of an objective's batches."""
    length = data.sequence_length
    if objective.kind == "masked_lm":
        return Shape(length - added_tokens(objective.sentence_task), length, None)
    if objective.kind == "span_corruption":
        lengths = span_lengths(objective, data)
        return Shape(lengths.raw, lengths.inputs, lengths.targets)
    if objective.kind == "denoising":
        return Shape(length - 1, length, length)
    return Shape(length, length, None)


def describe(objective: ObjectiveConfig) -> str:
    """What the model learns to predict, in a few words.

    >>> describe(ObjectiveConfig(kind="span_corruption"))
    'span_corruption: 15 % of the tokens hidden, in spans of 3 on average'
    """
    hidden = f"{objective.kind}: {100 * objective.density:g} % of the"
    if objective.kind == "span_corruption":
        return f"{hidden} tokens hidden, in spans of {objective.mean_span:g} on average"
    if objective.kind == "denoising":
        noises = " and ".join(objective.noises)
        return f"{hidden} tokens or words damaged by {noises}, in spans of {objective.mean_span:g} on average"
    if objective.kind == "masked_lm":
        drawn = "once for all epochs" if objective.static_masks else "afresh in each epoch"
        task = "" if objective.sentence_task == "none" else f", beside {objective.sentence_task}"
        return f"{hidden} tokens hidden by {objective.masking}, drawn {drawn}{task}"
    return objective.kind


def decoder_start(objective: ObjectiveConfig, vocabulary: Vocabulary) -> int:
    """What a decoder behind an encoder starts with: T5's `<pad>`, or BART's `<eos>`."""
    return vocabulary.eos if objective.kind == "denoising" else vocabulary.pad


def build(objective: ObjectiveConfig, data: DataConfig, special: SpecialTokens) -> MakeBatch:
    """The function from samples to batches. `InputError` where the vocabulary has too few sentinels."""
    if objective.kind == "span_corruption":
        lengths = span_lengths(objective, data)
        if lengths.sentinels > len(special.sentinels):
            raise InputError(
                f"data.sequence_length {data.sequence_length} needs {lengths.sentinels} sentinels where the "
                f"tokenizer has {len(special.sentinels)}; shorten it or raise objective.mean_span"
            )
        return partial(span_corruption, special=special, lengths=lengths)
    lacking = [name for name in NEEDS.get(objective.kind, ()) if getattr(special, name) == ABSENT]
    if lacking:
        raise InputError(
            f"objective.kind {objective.kind} needs a <{lacking[0]}>, and the dataset's tokenizer has none"
        )
    if objective.kind == "denoising":
        damage = NoiseSettings(objective.density, objective.mean_span)
        return partial(denoising, special=special, noises=objective.noises, noise=damage)
    if objective.kind == "masked_lm":
        return partial(_masked, special=special, objective=objective)
    if objective.kind == "prefix_lm":
        return prefix_lm
    if data.attention == "inside_documents":
        return partial(_causal_inside_documents, eos=special.eos)
    return causal_lm


def _masked(samples: Samples, special: SpecialTokens, objective: ObjectiveConfig) -> Batch:
    if objective.sentence_task == "none":
        arranged = single(samples, special)
    else:
        arranged = paired(samples, special, objective.sentence_task)
    return masked_lm(arranged, samples.keys, special, objective.masking, objective.density)


def _causal_inside_documents(samples: Samples, eos: int) -> Batch:
    return causal_lm(samples) | inside_documents(samples, eos)
