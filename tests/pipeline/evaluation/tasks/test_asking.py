"""What a model is asked token by token, what comes of it, and evaluations that were killed."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.evaluation import scoring
from pipeline.evaluation.scoring import Continuation, score
from pipeline.evaluation.tasks import measure
from pipeline.evaluation.tasks.asking import ask
from pipeline.evaluation.tasks.encoding import Encoder, split
from pipeline.evaluation.tasks.measure import Measurement
from pipeline.evaluation.tasks.records import read_records
from pipeline.evaluation.tasks.suites import load, read_suite
from pipeline.evaluation.workers import Workers
from tests.pipeline import tiny
from tests.pipeline.evaluation.fakes import Bigram, bigram_of, random_bigram
from tests.pipeline.evaluation.tasks.files import ROWS, write_task
from tests.pipeline.generation.models import LONGEST, prompts, random_model


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return tiny.vocabulary(tmp_path_factory.mktemp("tokenizer") / "tokenizer.model")


@pytest.fixture(scope="module")
def model(vocabulary: Vocabulary) -> Bigram:
    return random_bigram(tiny.config(), vocabulary)


def asked(model: Bigram, path: Path) -> list[dict[str, Any]]:
    task = load(path)
    return [one for s in task.sittings(1) for one in ask(s, task.questions, Encoder(model, False), "run")]


def by_hand(model: Bigram, context: str, answer: str) -> float:
    """The log-likelihood of an answer behind a text, one token at a time."""
    vocabulary = model.vocabulary
    first, whole = (vocabulary.encode(text) for text in (context, context + answer))
    assert whole[: len(first)] == first
    ids = [vocabulary.eos, *whole]
    pairs = list(pairwise(ids))
    return float(sum(model.logs[a, b] for a, b in pairs[len(first) :]))


def test_answers_behind_one_context_score_as_each_does_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """To 1e-5, in batches of whatever size; what only just fits is not padded beyond that."""
    model = random_model(positions="learned")
    longest, (short, long, whole) = model.config.context_length, prompts(3, 30, LONGEST)
    answers = [*prompts(9, 2, 11), [7], [8]]
    items = [Continuation(one, answer) for one in (short, long) for answer in answers]
    items += [Continuation(short, one) for one in (whole[: longest - 2], whole[1 : longest - 3])]
    items += [Continuation(whole, [5]), Continuation(long, [5, 6])]
    alone = [score(model, [one])[0] for one in items]
    for tokens in (1, 60, 8192):
        monkeypatch.setattr(scoring, "TOKENS_PER_BATCH", tokens)
        found = score(model, items)
        logs = [one.log_likelihood for one in alone]
        assert [one.log_likelihood for one in found] == pytest.approx(logs, abs=1e-5)
        assert [one.greedy for one in found] == [one.greedy for one in alone]


def test_likelihoods_are_those_of_the_answer_alone(model: Bigram, tmp_path: Path) -> None:
    for record, row in zip(asked(model, write_task(tmp_path, ROWS)), ROWS, strict=True):
        expected = [by_hand(model, row["question"], f" {choice}") for choice in row["choices"]]
        assert record["log_likelihoods"] == pytest.approx(expected, rel=1e-5)
        sizes = {
            "sum": [1.0] * len(expected),
            "characters": [len(one) for one in row["choices"]],
            "tokens": [len(one) for one in record["choice_tokens"]],
        }
        for name, by in sizes.items():
            chosen = int(np.argmax(np.array(expected) / by))
            assert record["scores"][f"right_by_{name}"] == float(chosen in record["right"])


def test_a_choice_counts_less_what_it_is_worth_without_the_question(model: Bigram, tmp_path: Path) -> None:
    rows = [row | {"neutral": "of"} for row in ROWS]
    records = asked(model, write_task(tmp_path, rows, normalise="unconditional", neutral="neutral"))
    for record, row in zip(records, rows, strict=True):
        alone = [by_hand(model, "of", f" {choice}") for choice in row["choices"]]
        assert record["unconditional"] == pytest.approx(alone, rel=1e-5)
        best = int(np.argmax(np.array(record["log_likelihoods"]) - alone))
        assert (record["answer"], record["score"]) == (
            record["choices"][best],
            float(best in record["right"]),
        )


def test_contexts_are_compared_by_what_stands_behind_them(model: Bigram, tmp_path: Path) -> None:
    rows = [{"options": ["adds the", "a file of"], "rest": "number.", "gold": 1}]
    keys = {
        "contexts": "options",
        "continuation": "rest",
        "answer": "gold",
        "question": None,
        "choices": None,
    }
    (record,) = asked(model, write_task(tmp_path, rows, **keys))
    expected = [by_hand(model, context, " number.") for context in rows[0]["options"]]
    assert record["log_likelihoods"] == pytest.approx(expected, rel=1e-5)


def test_loss_of_a_text_in_windows(vocabulary: Vocabulary, tmp_path: Path) -> None:
    model = random_bigram(tiny.config(data={"sequence_length": 8}), vocabulary)
    text = " ".join(tiny.WORDS)
    (record,) = asked(
        model, write_task(tmp_path, [{"t": text}], question="", choices=None, answer="t", score="loss")
    )
    assert len(record["choice_tokens"]) > 1
    ids = vocabulary.encode(text)
    assert [token for one in record["choice_tokens"] for token in one] == ids
    assert record["scores"]["nats"] == pytest.approx(-by_hand(model, "", text), rel=1e-5)
    assert record["score"] == pytest.approx(record["scores"]["nats"] / len(ids))


def test_an_answer_may_have_to_be_the_likeliest_text(vocabulary: Vocabulary, tmp_path: Path) -> None:
    model = bigram_of(tiny.config(), vocabulary, ["adds the number."] * 50)
    rows = [{"q": "adds the", "a": "number."}, {"q": "adds the", "a": "path."}]
    keys = {"question": "q", "choices": None, "answer": "a", "score": "greedy"}
    assert [one["score"] for one in asked(model, write_task(tmp_path, rows, **keys))] == [1.0, 0.0]


def test_generated_answers_stop_where_they_should_and_are_looked_for(
    vocabulary: Vocabulary, tmp_path: Path
) -> None:
    model = bigram_of(tiny.config(), vocabulary, ["adds the number of two sum."] * 50)
    rows = [{"q": "adds the", "a": "number of"}, {"q": "the number", "a": "nothing"}]
    keys = {"question": "q", "choices": None, "answer": "a", "score": "exact_match"}
    generate = {"max_tokens": 12, "stop": ["two", "."]}
    first, second = asked(model, write_task(tmp_path, rows, generate=generate, **keys))
    assert (first["text"].strip(), first["score"], first["generated_tokens"] < 12) == ("number of", 1.0, True)
    assert (second["text"].strip(), second["score"]) == ("of", 0.0)
    extract = {"pattern": "(number|sum)", "take": "last"}
    path = write_task(tmp_path, rows, generate={"max_tokens": 12, "stop": ["."]}, extract=extract, **keys)
    assert [one["answer"] for one in asked(model, path)] == ["sum", "sum"]


def test_examples_that_have_no_room_are_counted_and_questions_cut(
    vocabulary: Vocabulary, tmp_path: Path
) -> None:
    model = random_bigram(tiny.config(data={"sequence_length": 16}), vocabulary)
    medium = {"question": "the value of a path of two list", "choices": ["sum", "path"], "answer": 0}
    long = {"question": " ".join(tiny.WORDS * 6), "choices": ["sum", "path"], "answer": 0}
    rows = [*ROWS, medium, long]
    *_, first, last = asked(model, write_task(tmp_path, rows, few_shot={"shots": [3], "take": "first"}))
    assert 0 < first["shown"] < 3
    assert first["prompt"].endswith(medium["question"])
    assert not first["cut"]
    assert (last["shown"], last["cut"]) == (0, True)
    assert len(last["prompt_tokens"]) + max(map(len, last["choice_tokens"])) <= 17


@pytest.mark.parametrize(
    ("context", "answer"), [("adds the", " sum"), ("adds the ", "sum"), ("", " sum"), ("", "a")]
)
def test_a_text_and_its_answer_are_cut_as_one(vocabulary: Vocabulary, context: str, answer: str) -> None:
    read, said = split(vocabulary.encode(context.rstrip()), vocabulary.encode(context + answer))
    assert [*read, *said] == vocabulary.encode(context + answer)
    assert read == vocabulary.encode(context.rstrip())[: len(read)]
    assert said


def test_choices_of_one_token_are_read_once(model: Bigram) -> None:
    items = [Continuation([3, 120, 121], [token]) for token in range(111, 131)]
    model.seen.clear()
    found = score(model, [*items, Continuation([3, 120], [121, 125])])
    assert sum(rows for rows, _ in model.seen) == 2
    assert [one.log_likelihood for one in found[:20]] == pytest.approx(
        [model.logs[121, token] for token in range(111, 131)], rel=1e-4
    )
    assert found[20].log_likelihood == pytest.approx(model.logs[120, 121] + model.logs[121, 125], rel=1e-4)
    likeliest = int(model.logs[121].argmax())
    assert [
        one.greedy for one in score(model, [Continuation([3, 121], [token]) for token in (likeliest, 3)])
    ] == [
        True,
        likeliest == 3,
    ]


def test_a_killed_evaluation_goes_on_from_its_finished_parts(
    model: Bigram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_task(tmp_path / "suite", ROWS, few_shot={"shots": [0, 1], "draws": 2})
    suite, said = read_suite(tmp_path / "suite"), []
    monkeypatch.setattr(measure, "QUESTIONS_PER_PART", 2)
    whole = Measurement([suite], tmp_path / "whole", 1, said.append)
    expected = whole.ask(Workers(model), "one", "weights", False)
    whole.finish()
    calls = []

    def killed(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return ask(*arguments)

    monkeypatch.setattr(measure, "ask", killed)
    with pytest.raises(KeyboardInterrupt):
        Measurement([suite], tmp_path / "again", 1, said.append).ask(Workers(model), "one", "weights", False)
    again = Measurement([suite], tmp_path / "again", 1, said.append)
    assert again.ask(Workers(model), "one", "weights", False) == expected
    again.finish()
    assert len(calls) == 4 + 3  # six parts, of which three were finished
    assert "goes on from 3 finished parts" in said[-1]
    paths = [tmp_path / name / "records" / "suite.parquet" for name in ("whole", "again")]
    assert read_records(paths[0]) == read_records(paths[1])
    assert not (tmp_path / "again" / ".parts").exists()


def test_batches_ask_for_what_one_by_one_would(
    model: Bigram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_task(tmp_path, ROWS)
    together = asked(model, path)
    monkeypatch.setattr(scoring, "TOKENS_PER_BATCH", 1)
    for one, other in zip(together, asked(model, path), strict=True):
        assert one["log_likelihoods"] == pytest.approx(other["log_likelihoods"], abs=1e-5)


def test_a_file_that_is_no_record_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1nothing")
    with pytest.raises(InputError, match="not a Parquet file"):
        read_records(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no such file"):
        read_records(tmp_path / "b.parquet")


def test_a_chain_of_thought_before_the_answer(vocabulary: Vocabulary, tmp_path: Path) -> None:
    model = bigram_of(tiny.config(), vocabulary, ["adds the number of two sum."] * 50)
    rows = [{"q": "adds", "a": "the number of two sum.", "why": "because"}]
    keys = {"question": "q", "choices": None, "answer": "a", "score": "exact_match", "rationale": "why"}
    write_task(tmp_path / "shown", rows, **keys)
    few = {"rows": "../shown/toy.jsonl", "shots": [1]}
    chain = {"way": "few_shot", "chain_tokens": 12, "paths": 3, "top_k": 1}
    (record,) = asked(model, write_task(tmp_path / "asked", rows, few_shot=few, chain=chain, **keys))
    assert record["shown"] == 1
    assert record["chain"].count("---") == 2
    assert record["scores"]["generated_tokens"] == record["generated_tokens"] > 0
    assert record["score"] == float(record["answer"] == "the number of two sum.")


@pytest.mark.parametrize("kind", ["span_corruption", "denoising"])
def test_an_encoder_reads_the_question_and_the_decoder_says_the_answer(
    vocabulary: Vocabulary, tmp_path: Path, kind: str
) -> None:
    model = random_bigram(tiny.config(objective={"kind": kind}), vocabulary)
    task = load(write_task(tmp_path, ROWS))
    prompt = Encoder(model, False).prompt(task.task, [], task.questions[0])
    asked, whole = vocabulary.encode("adds the"), vocabulary.encode("adds the number")
    end, blank = vocabulary.eos, vocabulary.id_of("<extra_id_0>" if kind == "span_corruption" else "<mask>")
    assert prompt.choices[0].context == [*asked, blank, end]
    said = whole[len(asked) :] if kind == "denoising" else [blank, *whole[len(asked) :]]
    assert prompt.choices[0].answer == [*(asked if kind == "denoising" else []), *said, end]
