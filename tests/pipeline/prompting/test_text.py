"""Prompts as ids for each kind of model, and answers as text."""

from types import SimpleNamespace
from typing import Any

import pytest

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.prompting.text import blanked, growing, prompt_ids, readable
from tests.pipeline import tiny


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return tiny.vocabulary(tmp_path_factory.mktemp("tokenizer") / "tokenizer.model")


def model(vocabulary: Vocabulary, kind: str) -> Any:
    return SimpleNamespace(config=tiny.config(objective={"kind": kind}), vocabulary=vocabulary)


@pytest.mark.parametrize("text", ["returns the list", "returns", "a path.", ""])
def test_text_inside_a_word_is_text_without_the_space_before_it(vocabulary: Vocabulary, text: str) -> None:
    before = vocabulary.encode("list")
    assert vocabulary.decode([*before, *vocabulary.encode_inside(text)]) == "list" + text
    assert vocabulary.decode([*before, *vocabulary.encode(text)]) != "list" + text or not text


def test_a_blank_takes_the_space_before_it_and_no_other(vocabulary: Vocabulary) -> None:
    whole = vocabulary.encode("reads the file.")
    filling, mask = vocabulary.encode("the"), vocabulary.id_of("<mask>")
    for text in ("reads <mask> file.", "reads<mask> file."):
        ids = blanked(vocabulary, text)
        place = ids.index(mask)
        assert [*ids[:place], *filling, *ids[place + 1 :]] == whole
    ids = blanked(vocabulary, "<mask> the <extra_id_7>.")
    assert ids[0] == mask
    filled = [token for one in ids for token in (filling if one == vocabulary.sentinels[7] else [one])]
    assert vocabulary.decode(filled) == "the the."
    with pytest.raises(InputError, match="no <extra_id_100>"):
        blanked(vocabulary, "<extra_id_100>")


def test_prompts_of_each_kind(vocabulary: Vocabulary) -> None:
    text, eos, mask = vocabulary.encode("adds two"), vocabulary.eos, vocabulary.id_of("<mask>")
    first, second = vocabulary.sentinels[:2]
    assert prompt_ids(model(vocabulary, "causal_lm"), "adds two", False) == [eos, *text]
    assert prompt_ids(model(vocabulary, "span_corruption"), "adds two", False) == [*text, first, eos]
    assert prompt_ids(model(vocabulary, "denoising"), "adds two", False) == [*text, mask, eos]
    own = prompt_ids(model(vocabulary, "span_corruption"), "adds two<extra_id_1>", False)
    assert own == [*text, second, eos]
    asked = prompt_ids(model(vocabulary, "span_corruption"), "adds two", True)
    assert asked == prompt_ids(model(vocabulary, "causal_lm"), "adds two", True)
    assert asked[-1] == vocabulary.id_of("<|assistant|>")


def test_answers_read_behind_their_prompt_or_alone(vocabulary: Vocabulary) -> None:
    answer, first = vocabulary.encode("the file."), vocabulary.sentinels[0]
    decoder, both = model(vocabulary, "causal_lm"), model(vocabulary, "span_corruption")
    assert readable(decoder, "reads", False, answer) == "reads the file."
    assert readable(decoder, "reads", True, answer) == "the file."
    assert readable(both, "reads", False, [first, *answer]) == "the file."
    assert readable(both, "reads <extra_id_0>", False, [first, *answer]) == "<extra_id_0> the file."


def test_an_answer_grows_to_what_it_is_at_the_end(vocabulary: Vocabulary) -> None:
    answer = [*vocabulary.encode("the file."), vocabulary.sentinels[3], *vocabulary.encode("sum")]
    for kind, text in (("causal_lm", "reads"), ("span_corruption", "<extra_id_3>")):
        parts = list(growing(model(vocabulary, kind), text, False, answer))
        assert "".join(parts) == readable(model(vocabulary, kind), text, False, answer)
        assert sum(map(bool, parts)) > 4


def test_a_character_waits_for_all_of_its_bytes() -> None:
    pieces = {5: "\ufffd", 6: "é"}
    text = {(): "", (5,): "\ufffd", (5, 6): "é", (5, 6, 5): "é\ufffd"}
    vocabulary = SimpleNamespace(encode=lambda _: [], decode=lambda ids: text[tuple(ids)], pieces=pieces)
    parts = list(growing(model(vocabulary, "causal_lm"), "", False, [5, 6, 5]))
    assert parts == ["", "é", "\ufffd"]


@pytest.mark.parametrize("bad", ["\ud83d", "\x00", "\x1b"])
def test_what_no_tokenizer_can_be_given_is_left_out_of_a_prompt(vocabulary: Vocabulary, bad: str) -> None:
    for kind, chat in (("causal_lm", False), ("causal_lm", True), ("span_corruption", False)):
        one = model(vocabulary, kind)
        assert prompt_ids(one, f"a {bad}path", chat) == prompt_ids(one, "a path", chat)
        assert readable(one, f"a {bad}path", chat, []) == readable(one, "a path", chat, [])
    assert blanked(vocabulary, f"a {bad}<mask> path") == blanked(vocabulary, "a <mask> path")
