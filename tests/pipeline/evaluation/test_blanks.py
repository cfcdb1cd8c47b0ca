"""Blanks: how a text with some reads, what a model reads of it, and what its answer puts where."""

import numpy as np
import pytest
import torch

from data_prep.contract.dataset import Dataset
from data_prep.contract.vocabulary import CLS, MASK, SEP, Vocabulary
from pipeline.config import ObjectiveConfig, PipelineConfig
from pipeline.evaluation.blanks import composed, fill, shown, spans_filled, with_blanks
from tests.pipeline import tiny
from tests.pipeline.evaluation.fakes import Sessionless

TEXT = "adds the number of two."


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("work") / "dataset"
    tiny.dataset(folder, {"train": tiny.sentences(9), "validation": tiny.sentences(9, 1)})
    return Dataset(folder)


def test_a_users_text_with_blanks(data: Dataset) -> None:
    vocabulary = data.vocabulary
    ids = composed(ObjectiveConfig(kind="masked_lm"), vocabulary, "adds the <mask> of two.")
    mask, cls, sep = (vocabulary.id_of(piece) for piece in (MASK, CLS, SEP))
    assert ids == [cls, *vocabulary.encode("adds the"), mask, *vocabulary.encode("of two."), sep]
    assert shown(vocabulary, ids) == "adds the<mask> of two."
    assert (
        shown(vocabulary, ids, {ids.index(mask): vocabulary.encode("number")}) == "adds the «number» of two."
    )
    spans = composed(ObjectiveConfig(kind="span_corruption"), vocabulary, "adds <extra_id_0> of <extra_id_1>")
    assert [ids for ids in spans if ids in vocabulary.sentinels] == list(vocabulary.sentinels[:2])
    assert spans[-1] == vocabulary.eos


def test_spans_go_where_their_sentinels_are(data: Dataset) -> None:
    vocabulary = data.vocabulary
    first, second, third = vocabulary.sentinels[:3]
    row = [120, first, 121, second, vocabulary.eos]
    answer = [129, first, 130, 131, third, 140, second, 132, first, 150, vocabulary.eos]
    assert spans_filled(vocabulary, row, answer) == {1: [130, 131], 3: [132]}
    assert spans_filled(vocabulary, row, []) == {}
    assert shown(vocabulary, row, {}).count("«»") == 2


@pytest.mark.parametrize("kind", ["masked_lm", "span_corruption", "denoising"])
def test_held_out_text_with_its_own_words_in_its_blanks_is_that_text(data: Dataset, kind: str) -> None:
    vocabulary = data.vocabulary
    texts = [vocabulary.encode(" ".join(tiny.sentences(6, seed)))[:30] for seed in (1, 2)]
    made = with_blanks(ObjectiveConfig(kind=kind, noise_density=0.3), data, texts, seed=5)
    for text, (row, reference) in zip(texts, made, strict=True):
        assert shown(vocabulary, row) != vocabulary.decode(text)
        assert "<" in shown(vocabulary, row)
        plain = reference.replace("«", "").replace("»", "")
        assert plain == vocabulary.decode(text)
        assert ("«" in reference) == (kind != "denoising")


class Knowing(Sessionless):
    """An encoder that knows the token at every position of each text."""

    def __init__(self, config: PipelineConfig, vocabulary: Vocabulary, texts: list[list[int]]) -> None:
        self.config, self.vocabulary, self.texts = config, vocabulary, texts

    @torch.inference_mode()
    def logits(self, tokens: torch.Tensor, **others: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*tokens.shape, self.vocabulary.size + 3)
        for row in range(len(tokens)):
            for step in range(tokens.shape[1]):
                # The mask itself is likelier still, but is nothing to fill a blank with.
                logits[row, step, self.vocabulary.id_of(MASK)] = 9.0
                logits[row, step, self.texts[row][step]] = 5.0
        return logits


def test_an_encoder_fills_each_mask_with_its_likeliest_token_of_text(data: Dataset) -> None:
    vocabulary, config = data.vocabulary, tiny.config(objective={"kind": "masked_lm"})
    text = vocabulary.encode(TEXT)
    whole = [vocabulary.id_of(CLS), *text, vocabulary.id_of(SEP)]
    read = [vocabulary.id_of(MASK) if place in (2, 4) else token for place, token in enumerate(whole)]
    filled = fill(Knowing(config, vocabulary, [whole, whole]), [read, read], 5)
    assert filled[0] == filled[1]
    assert filled[0].replace("«", "").replace("»", "") == TEXT
    assert filled[0].count("«") == 2


def test_an_encoder_decoder_says_what_fills_each_span(data: Dataset) -> None:
    vocabulary = data.vocabulary
    config = tiny.config(objective={"kind": "span_corruption"})
    first, second = vocabulary.sentinels[:2]
    answer = [first, *vocabulary.encode("number"), second, *vocabulary.encode("two."), vocabulary.eos]
    row = [*vocabulary.encode("adds the"), first, *vocabulary.encode("of"), second, vocabulary.eos]
    assert fill(Saying(config, vocabulary, answer), [row], 20) == ["adds the «number» of «two.»"]


class Saying(Sessionless):
    """An encoder-decoder that says a given answer whatever it reads."""

    def __init__(self, config: PipelineConfig, vocabulary: Vocabulary, answer: list[int]) -> None:
        self.config, self.vocabulary, self.answer = config, vocabulary, answer

    def logits(self, tokens: torch.Tensor, **others: torch.Tensor) -> torch.Tensor:
        assert np.array_equal(tokens[0, 1:], self.answer[: tokens.shape[1] - 1])
        logits = torch.zeros(*tokens.shape, self.vocabulary.size)
        for step in range(tokens.shape[1]):
            logits[0, step, self.answer[step]] = 5.0
        return logits


def test_a_text_without_blanks_is_itself(data: Dataset) -> None:
    vocabulary = data.vocabulary
    assert shown(vocabulary, vocabulary.encode(TEXT)) == TEXT
