"""Generation: greedy paths of a known table, prompts of different lengths, stops, windows and draws."""

import numpy as np
import pytest
import torch

from data_prep.contract.vocabulary import Vocabulary
from pipeline.generation.model import window
from pipeline.generation.sampling import Sampling, choose, generate, streams
from tests.pipeline import tiny
from tests.pipeline.evaluation.fakes import Bigram, random_bigram


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return tiny.vocabulary(tmp_path_factory.mktemp("tokenizer") / "tokenizer.model")


def test_greedy_follows_the_likeliest_ids_for_every_prompt(vocabulary: Vocabulary) -> None:
    model = random_bigram(tiny.config(data={"sequence_length": 6}), vocabulary)
    prompts = [[5], [9, 8, 7, 6, 5, 4, 3, 20], [11, 30]]
    answers = generate(model, prompts, max_tokens=10)
    for prompt, answer in zip(prompts, answers, strict=True):
        last, path = prompt[-1], []
        for _ in range(10):
            last = int(model.logs[last].argmax())
            path.append(last)
        assert answer == path
    assert max(shape[1] for shape in model.seen) == 6


def test_a_stop_id_ends_its_own_row_and_is_not_part_of_it(vocabulary: Vocabulary) -> None:
    logs = np.full((vocabulary.size, vocabulary.size), -50.0)
    for token in range(vocabulary.size):
        logs[token, (token + 1) % vocabulary.size] = 0.0
    model = Bigram(tiny.config(), vocabulary, logs)
    answers = generate(model, [[10], [17], [40]], max_tokens=5, stop_ids={13, 18})
    assert answers == [[11, 12], [], [41, 42, 43, 44, 45]]
    assert [shape[0] for shape in model.seen] == [3, 2, 2, 1, 1]


def test_what_follows_a_prompt_depends_on_the_seed_and_not_on_its_company(vocabulary: Vocabulary) -> None:
    model = random_bigram(tiny.config(), vocabulary)
    together = generate(model, [[5, 6], [7, 8, 9]], 12, Sampling(seed=3))
    assert together == [generate(model, [prompt], 12, Sampling(seed=3))[0] for prompt in ([5, 6], [7, 8, 9])]
    assert together != generate(model, [[5, 6], [7, 8, 9]], 12, Sampling(seed=4))
    assert together[0] != generate(model, [[5, 6]], 12)[0]


def test_equal_prompts_draw_differently() -> None:
    draws = streams([[5, 6], [7], [5, 6]], 4, seed=0)
    assert len(set(draws.flatten().tolist())) == 12
    assert ((draws >= 0) & (draws < 1)).all()


@pytest.mark.parametrize(("length", "start"), [(1, 0), (8, 0), (9, 4), (12, 4), (13, 8), (16, 8), (17, 12)])
def test_a_window_moves_by_half_of_what_fits(length: int, start: int) -> None:
    assert window(list(range(length)), 8) == list(range(start, length))


def test_the_model_sees_the_window_of_a_long_prompt(vocabulary: Vocabulary) -> None:
    class Counting(Bigram):
        def logits(self, tokens: torch.Tensor) -> torch.Tensor:
            """The next id is the first id that is seen."""
            logits = torch.zeros(*tokens.shape, self.vocabulary.size)
            return logits.scatter(2, tokens[:, :1, None].expand(-1, tokens.shape[1], 1), 1.0)

    model = Counting(tiny.config(data={"sequence_length": 4}), vocabulary, np.zeros((1, 1)))
    assert generate(model, [[1, 2, 3, 4, 5, 6], [9]], max_tokens=5) == [[3, 5, 5, 3, 3], [9] * 5]


def chosen(probabilities: list[float], sampling: Sampling, draws: int) -> list[int]:
    """What evenly spread draws choose."""
    logits = torch.tensor([probabilities]).log().expand(draws, -1)
    return choose(logits, sampling, (torch.arange(draws).double() + 0.5) / draws).tolist()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_tempered_probabilities(temperature: float) -> None:
    share = np.bincount(chosen([0.1, 0.6, 0.3], Sampling(temperature), 30_000), minlength=3) / 30_000
    expected = np.array([0.1, 0.6, 0.3]) ** (1 / temperature)
    assert share == pytest.approx(expected / expected.sum(), abs=1e-4)


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    [
        (1, 1.0, {1}),
        (2, 1.0, {1, 2}),
        (0, 0.5, {1}),
        (0, 0.61, {1, 2}),
        (2, 0.99, {1, 2}),
        (0, 1.0, {0, 1, 2}),
        (9, 1.0, {0, 1, 2}),
    ],
)
def test_top_k_and_top_p_keep_the_likeliest(top_k: int, top_p: float, kept: set[int]) -> None:
    assert set(chosen([0.1, 0.6, 0.3], Sampling(1.0, top_k, top_p), 500)) == kept


def test_the_ends_of_the_unit_interval_choose_what_is_kept() -> None:
    logits = torch.tensor([[0.1, 0.6, 0.3]]).log().expand(2, -1)
    draws = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert choose(logits, Sampling(top_k=2), draws).tolist() == [1, 2]
