"""Questions about images as batches of an encoder and a decoder: literal texts, and what is left out."""

import numpy as np
import pytest

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.questions import Question
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.rationales import Wording, reasoned
from tests.pipeline.tiny import vocabulary

WHY = "it is a red ring."
PLAIN = Question("a ring?", "yes")
TOLD = Question("what colour?", "red", "colour", WHY)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return vocabulary(tmp_path_factory.mktemp("words") / TOKENIZER)


def samples(*asked: tuple[Question, ...]) -> ImageSamples:
    """A picture for each of these, damaged where nothing is asked."""
    count, numbers = len(asked), np.arange(len(asked), dtype=np.uint64)
    pixels = numbers.astype(np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3)
    real = np.array([bool(one) for one in asked])
    return ImageSamples(
        pixels, np.full(count, -1), ("",) * count, numbers, numbers, real, questions=tuple(asked)
    )


@pytest.mark.parametrize(
    ("says", "reads", "said"),
    [
        ("rationale", ("what colour?",), WHY),
        ("answer", ("what colour?", WHY), "red"),
        ("answer_at_once", ("what colour?",), "red"),
    ],
)
def test_literal_texts(says: str, reads: tuple[str, ...], said: str, words: Vocabulary) -> None:
    """What is said is shifted right behind the padding token; weights are where it stands."""
    made = reasoned(samples((TOLD, PLAIN)), Wording(words, says, 32), blind=False)
    ids = [*(one for text in reads for one in words.encode(text)), words.eos]
    wanted = [*words.encode(said), words.eos]
    assert made["encoder_tokens"][0].tolist() == ids + [words.pad] * (32 - len(ids))
    assert made["encoder_segments"][0].tolist() == [1] * len(ids) + [0] * (32 - len(ids))
    assert made["targets"][0].tolist() == wanted + [words.pad] * (32 - len(wanted))
    assert made["tokens"][0].tolist() == [words.pad, *made["targets"][0, :-1]]
    assert made["weights"][0].tolist() == [1.0] * len(wanted) + [0.0] * (32 - len(wanted))
    blind = reasoned(samples((TOLD, PLAIN)), Wording(words, says, 32), blind=True)
    assert {*made} - {*blind} == {"pixels"}
    assert all((made[name] == array).all() for name, array in blind.items())


def test_what_has_no_rationale_or_no_question_has_no_weight(words: Vocabulary) -> None:
    given = samples((PLAIN, TOLD), (PLAIN,), ())
    for says, weighed in (("rationale", [True, False, False]), ("answer_at_once", [True, True, False])):
        made = reasoned(given, Wording(words, says, 32), blind=False)
        assert (made["weights"] > 0).any(1).tolist() == weighed
        assert (made["pixels"][:, 0, 0, 0] == [0, 1, 2]).all()
        first = TOLD if says == "rationale" else PLAIN
        ids = words.encode(first.question)
        assert made["encoder_tokens"][0, : len(ids)].tolist() == ids


def test_the_first_question_that_fits_is_learned(words: Vocabulary) -> None:
    long = TOLD._replace(rationale=WHY * 9)
    fitting = len(words.encode(TOLD.question)) + len(words.encode(WHY)) + 1
    wording = Wording(words, "answer", fitting)
    made = reasoned(samples((long, TOLD)), wording, blind=True)
    assert made["weights"].sum() == len(words.encode("red")) + 1
    with pytest.raises(InputError, match=rf"data.sequence_length {fitting - 1}: .* takes {fitting}$"):
        reasoned(samples((long, TOLD)), Wording(words, "answer", fitting - 1), blind=True)
    assert wording.fitting(TOLD.question, WHY * 9)[-1] == words.eos
    assert len(wording.fitting(TOLD.question, WHY * 9)) == fitting
    with pytest.raises(InputError, match=r"a question of .* tokens; the model reads at most"):
        wording.fitting(TOLD.question * 9, "")
