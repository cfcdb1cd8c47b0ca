"""Our model class for lm-evaluation-harness beside its own, question by question, on published folders."""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import transformers

from pipeline.conversion.imports import import_folder
from pipeline.evaluation.workers import Workers
from pipeline.generation.load import load_model
from tests.pipeline.conversion import published

LIKELIHOODS = [
    ("adds the number of a list.", " returns it"),
    ("", "the sum of a list"),
    ("adds  the ", "number"),
    ("def f(x):", " return x"),
    ("a", "b"),
    ("returns " * 100, "tail"),
    ("the sum", " returns the sum"),
    ("the sum", " returns the list"),
]
"""Contexts and answers: none, white space between them, one too long for the model, two that begin alike."""
TEXTS = ["adds the number of a list.", "returns " * 120, "a"]
CONTEXTS = ["adds the number of a list.", "a", "the sum of"]
HOW = {"until": ["\n", "y"], "max_gen_toks": 8}
DECODED = {"max_length": 9}
"""Else the harness's own encoder-decoder may say as many tokens more as its encoder reads."""
TOLERANCE = 2e-4
"""Of sums of a hundred float32 logarithms."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The harness warns of every prompt that it cuts."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def t5_1_1(folder: Path) -> None:
    """With an output table of its own, so that random weights do not say `<pad>` alone."""
    published.t5(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    sizes = ("d_model", "d_kv", "d_ff", "num_layers", "num_heads", "n_positions")
    given = {key: getattr(config, key) for key in sizes}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "tie_word_embeddings": False}
    published.save(
        folder, "T5ForConditionalGeneration", "T5Config", feed_forward_proj="gated-gelu", **given, **ids
    )


def without_spare_rows(folder: Path) -> None:
    """Rows of no token get a share of the probability in transformers, and none here."""
    model = transformers.AutoModelForCausalLM if "t5" not in folder.parent.name else None
    read = (model or transformers.AutoModelForSeq2SeqLM).from_pretrained(folder)
    read.resize_token_embeddings(len(transformers.AutoTokenizer.from_pretrained(folder)))
    read.save_pretrained(folder)


AS_IT_IS: dict[str, Any] = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
"""How Llama's SentencePiece model reads a text, so that its two tokenizers agree."""
MAKE = published.FOLDERS | {"t5-1.1": t5_1_1, "llama": partial(published.llama, **AS_IT_IS)}


@pytest.mark.parametrize("name", ["llama", "gpt2", "bloom", "t5-1.1"])
def test_answers_are_those_of_the_harness_own_model(name: str, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
    from pipeline.evaluation.harness.model import HarnessModel

    folder = tmp_path / name / "model"
    MAKE[name](folder)
    without_spare_rows(folder)
    import_folder(folder, tmp_path / "run", lambda line: None)
    several = 2 if name == "gpt2" else 1
    with Workers(load_model(tmp_path / "run"), tmp_path / "run", several) as workers:
        compare(HarnessModel(workers), name, folder)


def compare(ours: Any, name: str, folder: Path) -> None:
    """Our model in the harness's terms and its own of the same folder, request by request."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    theirs = HFLM(
        pretrained=str(folder), device="cpu", dtype="float32", batch_size=3, max_length=ours.max_length
    )

    def both(kind: str, asked: list[tuple[Any, ...]]) -> tuple[list[Any], list[Any]]:
        requests = [Instance(request_type=kind, doc={}, arguments=one, idx=0) for one in asked]
        found, wanted = (getattr(one, kind)(requests, disable_tqdm=True) for one in (ours, theirs))
        assert len(found) == len(wanted) == len(asked)
        return found, wanted

    found, wanted = both("loglikelihood", LIKELIHOODS)
    assert [one for one, _ in found] == pytest.approx([one for one, _ in wanted], abs=TOLERANCE)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in wanted]
    assert ours.cut == (name != "bloom")  # which reads 512 tokens
    found, wanted = both("loglikelihood_rolling", [(one,) for one in TEXTS])
    assert found == pytest.approx(wanted, abs=10 * TOLERANCE)
    found, wanted = both(
        "generate_until", [(one, HOW | (DECODED if "t5" in name else {})) for one in CONTEXTS]
    )
    assert any(wanted)
    assert found == wanted


def test_a_folder_whose_tokenizers_disagree_says_so(tmp_path: Path) -> None:
    told: list[str] = []
    published.llama(tmp_path / "model")  # its SentencePiece model takes away spaces, tokenizer.json does not
    import_folder(tmp_path / "model", tmp_path / "run", told.append)
    assert any("other ids than tokenizer.model" in one for one in told), told
    published.llama(tmp_path / "published", byte_fallback=True, **AS_IT_IS)
    told.clear()
    import_folder(tmp_path / "published", tmp_path / "run2", told.append)
    assert not any("other ids" in one for one in told)
