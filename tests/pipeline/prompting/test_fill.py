"""Blanks filled in by models that always say the same, and by a random encoder."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.generation.beams import Beams
from pipeline.prompting.fill import blanks_in, fill, spans_of
from tests.pipeline import tiny
from tests.pipeline.generation.uncached import Uncached


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return tiny.vocabulary(tmp_path_factory.mktemp("tokenizer") / "tokenizer.model")


class Reciting:
    """A decoder behind an encoder that says the same to everything, and remembers what it was asked."""

    def __init__(self, vocabulary: Vocabulary, kind: str, answer: list[int]) -> None:
        self.config, self.vocabulary = tiny.config(objective={"kind": kind}), vocabulary
        self.answer, self.asked = [*answer, *[vocabulary.eos] * 20], []

    def logits(self, tokens: torch.Tensor, **others: torch.Tensor) -> torch.Tensor:
        said = torch.tensor([self.answer])[:, : tokens.shape[1]].expand(len(tokens), -1)
        return 20.0 * torch.nn.functional.one_hot(said, self.vocabulary.size)

    def session(self, sources: Any = None) -> Uncached:
        self.asked = sources
        return Uncached(self, sources)


def test_spans_go_to_the_blanks_of_their_sentinels(vocabulary: Vocabulary) -> None:
    first, second, third = vocabulary.sentinels[:3]
    the, two = vocabulary.encode("the file"), vocabulary.encode("two")
    model = Reciting(vocabulary, "span_corruption", [second, *two, first, *the, third])
    [filled] = fill(model, ["reads <mask> of <mask>."], 5, 20, Beams(2))
    assert filled.text == "reads the file of two."
    assert [one.text for [one] in filled.blanks] == ["the file", "two"]
    asked = vocabulary.encode("reads"), vocabulary.encode("of"), vocabulary.encode_inside(".")
    assert model.asked == [[*asked[0], first, *asked[1], second, *asked[2], vocabulary.eos]]


def test_a_blank_that_the_answer_leaves_out_stays_empty(vocabulary: Vocabulary) -> None:
    assert spans_of([7, 99, 5, 6, 98, 7, 99, 8], (99, 98, 97)) == {99: [5, 6], 98: [7]}
    model = Reciting(vocabulary, "span_corruption", [vocabulary.sentinels[0], *vocabulary.encode("a")])
    [filled] = fill(model, ["reads <mask> file <mask>"], 5, 20, Beams(2))
    assert (filled.text, [one.text for [one] in filled.blanks]) == ("reads a file", ["a", ""])


def test_a_rewritten_text_is_matched_with_the_one_that_has_blanks(vocabulary: Vocabulary) -> None:
    model = Reciting(vocabulary, "denoising", vocabulary.encode("reads the file of two."))
    [same, other] = fill(model, ["reads <mask> of <mask>.", "adds <mask>"], 5, 20, Beams(2))
    assert same.text == other.text == "reads the file of two."
    assert [one.text for [one] in same.blanks] == ["the file", "two"]
    assert other.blanks == []
    assert [one.text for [one] in blanks_in("a+b (c) d", "<mask> (c)<mask>")] == ["a+b", "d"]


@pytest.mark.parametrize(
    ("told", "text", "filled"),
    [
        ("a x b x c", "<mask> x <mask>", ["a", "b x c"]),
        ("a x b x", "a <mask> x", ["x b"]),
        (" same ", "same", []),
        ("a b", "<mask><mask>", ["", "a b"]),
        ("ab", "ab<mask>b", None),
        ("ab", "a<mask>c", None),
        ("a b c", "<mask> c <mask> b <mask>", None),
        (" " * 100_000 + "x", " <mask> a " * 20, None),
        ("a " * 50_000, "<mask> a " * 20 + "b", None),
    ],
)
def test_blanks_are_found_in_time_that_grows_with_the_text(
    told: str, text: str, filled: list[str] | None
) -> None:
    """A pattern with a place for each blank would try all ways to put them."""
    begun = time.process_time()
    found = blanks_in(told, text)
    assert time.process_time() - begun < 5
    assert [one.text for [one] in found] == (filled or [])


def test_an_encoder_names_the_likeliest_tokens_of_each_blank(vocabulary: Vocabulary) -> None:
    ids: list[list[int]] = []
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(16, vocabulary.size + 5, generator=generator)
    table[:, vocabulary.size :] = 99.0  # padding rows of the word table

    def logits(tokens: torch.Tensor) -> torch.Tensor:
        ids.append(tokens[0].tolist())
        return table[: tokens.shape[1]].unsqueeze(0)

    config = tiny.config(objective={"kind": "masked_lm"})
    model: Any = SimpleNamespace(config=config, vocabulary=vocabulary, logits=logits)
    [filled] = fill(model, ["reads <mask> <mask>."], 3, 20, Beams())
    assert ids[0][0] == vocabulary.id_of("<cls>")
    assert ids[0][-1] == vocabulary.id_of("<sep>")
    places = [place for place, token in enumerate(ids[0]) if token == vocabulary.id_of("<mask>")]
    assert len(places) == 2
    for place, candidates in zip(places, filled.blanks, strict=True):
        shares = table[place, : vocabulary.size].softmax(dim=0)
        best = shares.argsort(descending=True)[:3].tolist()
        assert [one.text for one in candidates] == [vocabulary.decode([token]) for token in best]
        assert [one.probability for one in candidates] == pytest.approx(shares[best].tolist())
        ids[0][place] = best[0]
    assert filled.text == vocabulary.decode(ids[0])


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("masked_lm", "no blank", "has no blank"),
        ("causal_lm", "a <mask>", "decoder alone"),
        ("masked_lm", "a <mask>" * 200, "reads at most 256"),
        ("span_corruption", "a <mask>" * 120, "100 sentinels"),
        ("denoising", "a <mask>" * 200, "reads at most 256"),
    ],
)
def test_what_cannot_be_filled_in(vocabulary: Vocabulary, kind: str, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        fill(Reciting(vocabulary, kind, []), [text], 3, 20, Beams())
