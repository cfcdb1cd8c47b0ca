"""How contexts and answers become batches, and what an encoder-decoder makes of them."""

import numpy as np
import pytest
import torch

from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.evaluation import scoring
from pipeline.evaluation.prompt_forms import EncodedPrompt, JoinedPrompt, prompt_form
from pipeline.evaluation.scoring import Continuation, log_likelihoods
from tests.pipeline import tiny
from tests.pipeline.evaluation.fakes import Sessionless


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return tiny.vocabulary(tmp_path_factory.mktemp("tokenizer") / "tokenizer.model")


def test_a_decoder_reads_both_as_one_sequence() -> None:
    inputs, firsts = JoinedPrompt(4, 0).inputs([[5, 6], [7]], [[8], [9, 10]])
    assert {name: array.tolist() for name, array in inputs.items()} == {"tokens": [[5, 6, 8], [7, 9, 10]]}
    assert firsts.tolist() == [1, 0]


def test_an_encoder_reads_the_context_and_a_decoder_the_answer_shifted_right() -> None:
    inputs, firsts = EncodedPrompt(4, pad=0, start=3).inputs([[5, 6], [7]], [[8], []])
    assert {name: array.tolist() for name, array in inputs.items()} == {
        "tokens": [[3, 8], [3, 0]],
        "encoder_tokens": [[5, 6], [7, 0]],
        "encoder_segments": [[1, 1], [1, 0]],
    }
    assert firsts.tolist() == [0, 0]


def test_what_does_not_fit_is_cut_where_it_matters_least() -> None:
    context, answer = [1, 2, 3, 4], [5, 6, 7]
    assert JoinedPrompt(6, 0).fits(context, answer)
    assert not JoinedPrompt(5, 0).fits(context, answer)
    assert JoinedPrompt(5, 0).cut(context, answer) == ([2, 3, 4], [5, 6, 7])
    assert EncodedPrompt(4, 0, 0).fits(context, answer)
    assert not EncodedPrompt(3, 0, 0).fits(context, answer)
    assert EncodedPrompt(2, 0, 0).cut(context, answer) == ([3, 4], [5, 6])


class Echo(Sessionless):
    """An encoder-decoder that knows its input: at step j it gives the j-th real token of the input weight 3,
    the `<eos>` where there is none, every other token weight 1."""

    def __init__(self, config: PipelineConfig, vocabulary: Vocabulary) -> None:
        self.config, self.vocabulary = config, vocabulary

    def logits(
        self, tokens: torch.Tensor, *, encoder_tokens: torch.Tensor, encoder_segments: torch.Tensor
    ) -> torch.Tensor:
        logits = torch.zeros(*tokens.shape, self.vocabulary.size + 3)
        for row, count in enumerate(encoder_segments.sum(dim=1).tolist()):
            for step in range(tokens.shape[1]):
                known = int(encoder_tokens[row, step]) if step < count else self.vocabulary.eos
                logits[row, step, known] = np.log(3.0)
        logits[..., self.vocabulary.size :] = 100.0
        return logits


@pytest.fixture(scope="module")
def echo(vocabulary: Vocabulary) -> Echo:
    return Echo(tiny.config(objective={"kind": "span_corruption"}), vocabulary)


def test_an_answers_likelihood_is_that_behind_its_context(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [
        Continuation([120, 121, 122], [120, 121]),
        Continuation([130], [130, 3, 140]),
        Continuation([125, 126], [126, 125]),
    ]
    known = [2, 2, 0]
    total = np.log(echo.vocabulary.size + 2)
    for tokens in (1, 8192):
        monkeypatch.setattr(scoring, "TOKENS_PER_BATCH", tokens)
        expected = [
            right * np.log(3.0) - len(item.answer) * total for right, item in zip(known, items, strict=True)
        ]
        assert log_likelihoods(echo, items) == pytest.approx(expected, rel=1e-5)


def test_the_start_token_is_that_of_the_objective(vocabulary: Vocabulary) -> None:
    starts = {
        kind: prompt_form(tiny.config(objective={"kind": kind}), vocabulary)
        for kind in ("span_corruption", "denoising", "causal_lm")
    }
    assert starts == {
        "span_corruption": EncodedPrompt(256, vocabulary.pad, vocabulary.pad),
        "denoising": EncodedPrompt(256, vocabulary.pad, vocabulary.eos),
        "causal_lm": JoinedPrompt(256, vocabulary.pad),
    }
