"""Beam search: with enough beams the best text of all, found by trying each; narrower ones by hand."""

import itertools

import numpy as np
import pytest

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.generation.beams import Beams, beam_search
from pipeline.generation.sampling import generate
from tests.pipeline import tiny
from tests.pipeline.evaluation.fakes import Bigram, random_bigram
from tests.pipeline.generation.models import prompts, random_model

STOP, LONGEST = 3, 4


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return tiny.vocabulary(tmp_path_factory.mktemp("tokenizer") / "tokenizer.model")


def few_tokens(vocabulary: Vocabulary, seed: int) -> Bigram:
    """A bigram model of tokens 3 to 6; no other ever follows."""
    model = random_bigram(tiny.config(), vocabulary, seed)
    model.logs[:, [*range(3), *range(7, vocabulary.size)]] = -1e4
    model.logs -= np.log(np.exp(model.logs).sum(axis=1, keepdims=True))
    return model


def best_of_all(model: Bigram, prompt: list[int], penalty: float) -> list[int]:
    """Every text of 4 tokens, or fewer that end in the stop, scored; the best without its stop."""
    scored = []
    for length in range(1, LONGEST + 1):
        for text in itertools.product(range(3, 7), repeat=length):
            if STOP in text[:-1] or (length < LONGEST and text[-1] != STOP):
                continue
            steps = zip([prompt[-1], *text], text, strict=False)
            scored.append((sum(model.logs[one] for one in steps) / length**penalty, text))
    _, text = max(scored)
    return [token for token in text if token != STOP]


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_search_finds_the_best_text_of_all(vocabulary: Vocabulary, seed: int, penalty: float) -> None:
    model, asked = few_tokens(vocabulary, seed), [[9], [20, 30], [11, 5, 6]]
    # wide enough that no text is dropped and that no search ends while a better one could come
    beams = Beams(90, penalty)
    found = beam_search(model, asked, LONGEST, beams, {STOP})
    assert found == [best_of_all(model, prompt, penalty) for prompt in asked]


def test_two_beams_find_what_the_greedy_way_misses(vocabulary: Vocabulary) -> None:
    shares = np.full((vocabulary.size, vocabulary.size), 1e-9)
    shares[10, [20, 21]] = 0.6, 0.4
    shares[20, [30, 31]] = 0.5, 0.5  # 0.6 * 0.5 is less than
    shares[21, 32] = 1.0  # 0.4 * 1
    model = Bigram(tiny.config(), vocabulary, np.log(shares / shares.sum(axis=1, keepdims=True)))
    assert generate(model, [[10]], 2)[0][0] == 20
    assert beam_search(model, [[10]], 2, Beams(2)) == [[21, 32]]


def test_a_prompt_finds_the_same_alone_and_in_any_company(vocabulary: Vocabulary) -> None:
    model, asked = few_tokens(vocabulary, 1), [[5], [9, 8, 7], [11, 30], [40, 41], [50]]
    together = beam_search(model, asked, 12, Beams(3), {STOP, 6})
    assert together == [beam_search(model, [prompt], 12, Beams(3), {STOP, 6})[0] for prompt in asked]
    assert len({len(one) for one in together}) > 1


def test_one_beam_is_the_greedy_way() -> None:
    model = random_model()
    asked = prompts(3, 8, 5)
    assert beam_search(model, asked, 12, Beams(1)) == generate(model, asked, 12)


def test_what_does_not_fit_is_refused() -> None:
    model = random_model()
    with pytest.raises(InputError, match="prompt of 30 tokens and 11 more; the model sees at most 40"):
        beam_search(model, prompts(30, 2), 11, Beams(2))
    both = random_model("denoising")
    with pytest.raises(InputError, match="41 tokens; the model's encoder reads at most 40"):
        beam_search(both, prompts(41), 3, Beams(2))
    assert max(map(len, beam_search(both, prompts(4), 99, Beams(2)))) <= 40
