"""Questions about images as batches of a decoder: literal texts, what is learned, several images a text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.pictures import ImageDataset
from data_prep.contract.questions import Question
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import ObjectiveConfig, PipelineConfig, VisionConfig
from pipeline.data.images.maker import ImageBatchMaker
from pipeline.objectives.batches import Batch
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.answers import Writer, answered, image_token
from pipeline.objectives.vision.pages import paged
from tests.pictures import write_pictures
from tests.pipeline.tiny import vocabulary

ASKED = (Question("what colour?", "red"), Question("a ring?", "no"))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return vocabulary(tmp_path_factory.mktemp("words") / TOKENIZER)


def samples(*asked: tuple[Question, ...], partners: ImageSamples | None = None) -> ImageSamples:
    """A picture for each of these."""
    count = len(asked)
    real = np.array([bool(one) for one in asked])
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3)
    return ImageSamples(
        pixels,
        np.full(count, -1),
        ("",) * count,
        np.arange(count, dtype=np.uint64),
        np.arange(count, dtype=np.uint64),
        real,
        True,
        asked,
        partners,
    )


def batch(given: ImageSamples, words: Vocabulary, length: int = 64, **objective: Any) -> Batch:
    """A batch of images of four patches."""
    settings = ObjectiveConfig(kind="image_answers", **objective)
    return answered(given, Writer(words, 0 if settings.blind else 4), settings, length)


def test_a_literal_text(words: Vocabulary) -> None:
    made = batch(samples(ASKED), words, questions=2)
    image, first, second = image_token(words), words.encode("what colour?"), words.encode("a ring?")
    red, no = [*words.encode("red"), words.eos], [*words.encode("no"), words.eos]
    text = [words.bos, *[image] * 4, *first, *red, *second, *no]
    padded = text + [words.pad] * (65 - len(text))
    assert made["tokens"][0].tolist() == padded[:-1]
    assert made["targets"][0].tolist() == padded[1:]
    assert made["image_places"].tolist() == [[1, 2, 3, 4]]
    learned = made["targets"][0][made["weights"][0] > 0].tolist()
    assert learned == [*red, *no]
    one = batch(samples(ASKED), words)
    assert one["targets"][0][one["weights"][0] > 0].tolist() == red


def test_texts_are_learned_whole_without_images(words: Vocabulary) -> None:
    seen = batch(samples(ASKED), words, loss_on="texts")
    blind = batch(samples(ASKED), words, loss_on="texts", blind=True)
    spoken = [*words.encode("what colour?"), *words.encode("red"), words.eos]
    for made in (seen, blind):
        assert made["targets"][0][made["weights"][0] > 0].tolist() == spoken
    assert {*blind} == {"tokens", "targets", "weights"}
    assert image_token(words) not in blind["tokens"]


def test_several_images_and_a_damaged_one(words: Vocabulary) -> None:
    further = samples(ASKED[1:], (), ASKED[:1], ASKED[1:])
    made = batch(samples(ASKED[:1], ASKED[:1], partners=further), words, pictures=3)
    assert made["pixels"].shape == (2, 3, 8, 8, 3)
    assert made["pixels"][:, :, 0, 0, 0].tolist() == [[0, 0, 1], [1, 2, 3]]
    assert not made["weights"][0].any()
    assert (made["image_places"][0] == -1).all()
    image = made["tokens"][1] == image_token(words)
    assert np.flatnonzero(image).tolist() == made["image_places"][1].tolist()


def test_a_literal_page(words: Vocabulary) -> None:
    """The first question that all pictures share is asked of each, and not written down."""
    shared = (Question("a ring?", "yes"),), (Question("what?", "x"), Question("a ring?", "no"))
    further = samples(*shared)
    made = paged(samples(ASKED, partners=further), words, blind=False, length=32)
    image = image_token(words)
    texts = [[*words.encode(one), words.eos] for one in ("no", "yes", "no")]
    page = [words.bos, image, *texts[0], image, *texts[1], image, *texts[2]]
    last = [0, *[1] * (1 + len(texts[0])), *[2] * (1 + len(texts[1])), *[3] * (1 + len(texts[2]))]
    count = len(page)
    assert made["tokens"][0, :count].tolist() == page
    assert made["last_image"][0, :count].tolist() == last
    assert made["targets"][0][made["weights"][0] > 0].tolist() == [one for text in texts for one in text]
    assert made["pixels"].shape == (1, 3, 8, 8, 3)
    cut = paged(samples(ASKED, partners=further), words, blind=False, length=2 + len(texts[0]))
    assert cut["targets"][0][cut["weights"][0] > 0].tolist() == texts[0]


def test_what_does_not_fit(words: Vocabulary) -> None:
    size = 1 + 4 + len(words.encode("what colour?")) + len(words.encode("red"))
    assert (
        batch(samples(ASKED), words, length=size, questions=9)["weights"].sum()
        == len(words.encode("red")) + 1
    )
    with pytest.raises(InputError, match="takes 1 tokens more"):
        batch(samples(ASKED), words, length=size - 1)


def test_the_stream_draws_questions_and_partners(tmp_path: Path, words: Vocabulary) -> None:
    folder = write_pictures(tmp_path, train=12, validation=6, tokenizer=words, questions=True)
    config = PipelineConfig(
        name="one",
        vision=VisionConfig(image_size=32, patch_size=16),
        objective=ObjectiveConfig(kind="image_answers", pictures=2, questions=2),
        data={"sequence_length": 96, "view": {"crop": "centre", "flip": 0.0}},
        train={"steps": 3, "global_batch": 6, "micro_batch": 6},
    )
    whole = [ImageBatchMaker(config, str(folder), 0, 1).step(step)[0] for step in range(3)]
    half = config.model_copy(update={"train": config.train.model_copy(update={"micro_batch": 3})})
    parts = [[ImageBatchMaker(half, str(folder), rank, 2).step(2)[0] for rank in range(2)]]
    for name, array in whole[2].items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts[0]]), array)
    assert whole[0]["pixels"].shape == (6, 2, 32, 32, 3)
    assert not any((one["pixels"][:, 0] == one["pixels"][:, 1]).all((1, 2, 3)).any() for one in whole)
    questions = ImageDataset(folder).questions("train", 0)
    assert len(questions) > 2
