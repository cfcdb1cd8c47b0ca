"""Ways of reasoning with a model that is a function: its prompts, what comes of its texts, costs."""

import re
from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.evaluation.chains.asking import Reply, Solved
from pipeline.evaluation.chains.auto import auto_chains, is_simple, k_means
from pipeline.evaluation.chains.voting import accuracy_by_paths, majority, self_consistency
from pipeline.evaluation.chains.ways import Chain, direct, few_shot, least_to_most, zero_shot

QUESTION = "What is 1 + 2 + 3?"
EXAMPLE = Chain("What is 4 + 5?", "4 and 5 are 9.", "9")


class Said:
    """Says what a table has for the end of a prompt, and keeps what it was asked."""

    def __init__(self, table: dict[str, list[str]]) -> None:
        self.table = table
        self.prompts: list[str] = []

    def __call__(
        self, prompts: Sequence[str], max_tokens: int, stops: Sequence[str] = (), draw: int | None = None
    ) -> list[Reply]:
        self.prompts += prompts
        return [self._reply(one, draw or 0) for one in prompts]

    def _reply(self, prompt: str, draw: int) -> Reply:
        found = next(texts for end, texts in self.table.items() if prompt.endswith(end))
        text = found[draw % len(found)]
        return Reply(text, len(prompt.split()), len(text.split()))


def test_directly() -> None:
    ask = Said({"The answer (arabic numerals) is": [" 6."]})
    (solved,) = direct("number")([QUESTION], ask)
    assert ask.prompts == [f"Q: {QUESTION}\nA: The answer (arabic numerals) is"]
    assert (solved.answer, solved.prompt_tokens, solved.tokens) == ("6", 14, 1)
    ask = Said({"The answer is": [" 6."]})
    direct("number", examples=[EXAMPLE])([QUESTION], ask)
    assert ask.prompts == [f"Q: What is 4 + 5?\nA: The answer is 9.\n\nQ: {QUESTION}\nA: The answer is"]


def test_behind_examples_that_reason() -> None:
    ask = Said({"A:": [" 1 and 2 are 3. 3 and 3 are 6. The answer is 6."]})
    (solved,) = few_shot("number", [EXAMPLE])([QUESTION], ask)
    assert ask.prompts == [f"Q: What is 4 + 5?\nA: 4 and 5 are 9. The answer is 9.\n\nQ: {QUESTION}\nA:"]
    assert (solved.answer, "3 and 3 are 6" in solved.chain) == ("6", True)


def test_step_by_step_in_two_stages() -> None:
    ask = Said({"step.": [" 1 and 2 are 3, and 3 more are 6."], "numerals) is": [" 6."]})
    (solved,) = zero_shot("number")([QUESTION], ask)
    first, second = ask.prompts
    assert first == f"Q: {QUESTION}\nA: Let's think step by step."
    assert second == f"{first} 1 and 2 are 3, and 3 more are 6.\nTherefore, the answer (arabic numerals) is"
    assert solved.answer == "6"
    assert solved.prompt_tokens == len(first.split()) + len(second.split())
    assert solved.tokens == 10 + 1


def test_easier_questions_first() -> None:
    table = {
        "the answers to:\n": ['1. "What is 1 + 2?"\n'],
        "What is 1 + 2?\nA:": [" The answer is 3."],
        f"{QUESTION}\nA:": [" 3 and 3 are 6. The answer is 6."],
    }
    ask = Said(table)
    shown = Chain("What is 4 + 5 + 6?", '1. "What is 4 + 5?"', "15")
    (solved,) = least_to_most("number", [shown], [EXAMPLE])([QUESTION], ask)
    assert len(ask.prompts) == 3
    assert ask.prompts[2].endswith(f"Q: What is 1 + 2?\nA: The answer is 3.\n\nQ: {QUESTION}\nA:")
    assert (solved.answer, solved.tokens) == ("6", 6 + 4 + 9)


def test_the_answer_of_most_paths() -> None:
    texts = [" The answer is 5.", " So 6. The answer is 6.", " Who knows?", " The answer is 6."]
    way = self_consistency(few_shot("number", [EXAMPLE]), paths=4)
    (solved,) = way([QUESTION], Said({"A:": texts}))
    assert (solved.answer, solved.votes) == ("6", ("5", "6", "", "6"))
    assert solved.tokens == sum(len(one.split()) for one in texts)
    assert "Who knows?" in solved.chain
    assert majority(["", ""]) == ""
    assert majority(["2", "1", "1", "2"]) == "2"


def test_more_paths_are_more_often_right() -> None:
    random = np.random.default_rng(0)
    votes = [
        ["1" if random.random() < 0.6 else str(random.integers(2, 9)) for _ in range(20)] for _ in range(50)
    ]
    found = accuracy_by_paths(votes, [["1"]] * 50, [1, 5, 20], seed=1, subsets=30)
    assert found[1][0] == pytest.approx(0.6, abs=0.05)
    assert found[1][0] < found[5][0] <= found[20][0]
    assert found[20][1] == found[20][2]


def test_clusters_are_those_of_scikit_learn() -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    random = np.random.default_rng(4)
    vectors = np.concatenate([random.normal(size=(30, 5)) + 3 * random.normal(size=5) for _ in range(4)])
    start = vectors[[0, 31, 62, 93]]
    theirs = cluster.KMeans(4, init=start, n_init=1, max_iter=300, tol=0).fit(vectors)
    labels, centres = k_means(vectors, start)
    np.testing.assert_array_equal(labels, theirs.labels_)
    np.testing.assert_allclose(centres, theirs.cluster_centers_, atol=1e-9)


def test_one_example_of_each_cluster() -> None:
    questions = [f"What is {n} + 1?" for n in range(8)]
    vectors = np.array([[float(10 * (n // 4)), float(n % 4)] for n in range(8)])

    def ask(
        prompts: Sequence[str], max_tokens: int, stops: Sequence[str] = (), draw: int | None = None
    ) -> list[Reply]:
        numbers = [int(re.findall(r"is (\d)", one)[0]) + 1 for one in prompts]
        return [
            Reply(f" {n}." if "Therefore" in one else f" Add one and get {n}.", 1, 1)
            for one, n in zip(prompts, numbers, strict=True)
        ]

    found = auto_chains("number", questions, vectors, 2, ask, seed=3)
    assert len(found) == 2
    assert {int(one.question.split()[2]) // 4 for one in found} == {0, 1}
    assert all(one.rationale.startswith("Let's think step by step. Add one") for one in found)
    assert all(int(one.answer) == int(one.question.split()[2]) + 1 for one in found)


@pytest.mark.parametrize(
    ("question", "chain", "answer", "simple"),
    [
        ("Short?", "One. Two is 2.", "2", True),
        ("word " * 61, "One. Two is 2.", "2", False),
        ("Short?", "1. 2. 3. 4. 5. 6. 7.", "7", False),
        ("Short?", "It never ends", "2", False),
        ("Short?", "Two is 2. That was " + "easy " * 12 + "enough.", "2", False),
        ("Short?", "Two is 2.", "", False),
    ],
)
def test_what_makes_an_example(question: str, chain: str, answer: str, simple: bool) -> None:
    assert is_simple(question, Solved(answer, chain), "number") == simple
