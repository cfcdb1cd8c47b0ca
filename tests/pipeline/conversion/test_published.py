"""Folders as they are published: imported with their own tokenizers, they say what transformers says."""

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import BOS, CLS, EOS, MASK, PAD, SENTINELS, SEP, Vocabulary
from launch.generate import answers, blanks
from pipeline.checkpoints.run_folder import read_config
from pipeline.config import EvaluationConfig
from pipeline.conversion import agreement
from pipeline.conversion.export import export
from pipeline.conversion.imports import import_folder
from pipeline.evaluation.evaluate import evaluate
from pipeline.generation.beams import Beams
from pipeline.generation.load import load_model
from pipeline.generation.sampling import GREEDY, generate
from pipeline.prompting.text import prompt_ids, stop_ids
from tests.pipeline import tiny
from tests.pipeline.conversion import published

Made = Callable[[str], Path]
TEXTS = (
    "adds the number of a list.",
    "Naïve 日本, 12 or 345?  def f(x):\n    return x\n",
    " a path\twith \U0001f600 and  two spaces ",
)
FORGED = "".join(
    f"{one}x {one} " for one in ("<|endoftext|>", "</s>", "<s>", "<pad>", "<mask>", "[MASK]", *SENTINELS[:2])
)
DECODERS = ("gpt2", "opt", "bloom", "falcon", "llama")


def quiet(line: str) -> None:
    """What is said along the way."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A published folder by name, with its import in `run`; each is made once."""
    root = tmp_path_factory.mktemp("published")

    def make(name: str) -> Path:
        folder = root / name
        if not folder.exists():
            published.build(name, folder / "model")
            assert import_folder(folder / "model", folder / "run", quiet)["compared_with"] == "transformers"
        return folder

    return make


@pytest.mark.parametrize("name", published.FOLDERS)
def test_ids_are_those_of_transformers(name: str, made: Made, tmp_path: Path) -> None:
    folder = made(name)
    theirs = transformers.AutoTokenizer.from_pretrained(folder / "model")
    ours = Vocabulary(folder / "run" / TOKENIZER)
    assert ours.size == len(theirs)
    assert ours.frame is not None
    before, after = ours.frame
    for text in TEXTS:
        if name == "llama" and text != TEXTS[0]:
            continue  # SentencePiece joins and strips spaces there as this model was trained to
        assert [*before, *ours.encode(text), *after] == theirs(text)["input_ids"]
        assert ours.decode(ours.encode(text)) == theirs.decode(ours.encode(text), skip_special_tokens=True)
    (tmp_path / "alone").write_bytes((folder / "run" / TOKENIZER).read_bytes())
    alone = Vocabulary(tmp_path / "alone")  # all that it needs is in the one file
    assert alone.encode(TEXTS[0]) == ours.encode(TEXTS[0])
    assert alone.sha256 == ours.sha256 == Vocabulary(folder / "model").sha256


@pytest.mark.parametrize("name", published.FOLDERS)
def test_no_text_forges_a_special_token(name: str, made: Made) -> None:
    vocabulary = Vocabulary(made(name) / "run")
    ids = vocabulary.encode(FORGED)
    found = set(ids) | set(vocabulary.encode_inside(FORGED))
    known = {vocabulary.unk} - {vocabulary.eos}  # which are one token in GPT-2 and OPT
    assert not found & (vocabulary.reserved - known)
    if name in ("gpt2", "opt", "bloom", "falcon", "roberta", "bart"):
        assert vocabulary.decode(ids) == FORGED  # bytes: nothing of the text is lost either
    assert not {*vocabulary.encode(FORGED * 300)} & (vocabulary.reserved - known)  # however many there are


def test_a_word_that_is_a_special_token_is_cut(made: Made, tmp_path: Path) -> None:
    """A BPE with `ignore_merges` takes a whole word that is in its vocabulary, whatever the word is."""
    (tmp_path / "config.json").write_bytes((made("gpt2") / "model" / "config.json").read_bytes())
    content = json.loads((made("gpt2") / "model" / "tokenizer.json").read_text())
    content["model"]["ignore_merges"] = True
    words = {"type": "Split", "pattern": {"Regex": r"\S+"}, "behavior": "Isolated", "invert": False}
    signs = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [words, signs]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    plain = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    plain.encode_special_tokens = True
    vocabulary = Vocabulary(tmp_path)
    assert vocabulary.eos in plain.encode("a <|endoftext|> b").ids  # the library's setting is not enough
    assert vocabulary.eos not in vocabulary.encode("a <|endoftext|> b")
    assert vocabulary.decode(vocabulary.encode("a <|endoftext|> b")) == "a <|endoftext|> b"


def test_roles_are_what_the_folder_says(made: Made) -> None:
    bert = Vocabulary(made("bert") / "run")
    theirs = transformers.AutoTokenizer.from_pretrained(made("bert") / "model")
    wanted = theirs.convert_tokens_to_ids(["[PAD]", "[CLS]", "[SEP]", "[MASK]"])
    assert [bert.id_of(one) for one in (PAD, CLS, SEP, MASK)] == wanted
    assert bert.eos == bert.id_of(SEP)
    gpt2 = Vocabulary(made("gpt2") / "run")
    assert gpt2.pad == gpt2.bos == gpt2.eos == 0
    assert not gpt2.has(MASK)
    t5 = Vocabulary(made("t5") / "run")
    assert [t5.sentinels[0], t5.sentinels[99]] == [t5.size - 1, t5.size - 100]
    llama = Vocabulary(made("llama") / "run")
    assert [llama.id_of(BOS), llama.id_of(EOS), llama.start] == [1, 2, 1]


@pytest.mark.parametrize(("name", "said"), [("bert", "bert"), ("roberta", "roberta"), ("gpt2", "gpt2")])
def test_old_folders_say_nothing_of_roles(name: str, said: str, made: Made, tmp_path: Path) -> None:
    """Their tokenizer_config.json has a length at most."""
    for file in ("tokenizer.json", "config.json"):
        (tmp_path / file).write_bytes((made(name) / "model" / file).read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    bare = {key: value for key, value in config.items() if not key.endswith("_token_id")}
    (tmp_path / "config.json").write_text(json.dumps(bare))
    old, new = Vocabulary(tmp_path), Vocabulary(made(name) / "run")
    assert (old.bos, old.eos, old.unk, old.pad) == (new.bos, new.eos, new.unk, new.pad)
    assert old.has(MASK) == new.has(MASK)


def test_roles_are_part_of_the_hash(made: Made, tmp_path: Path) -> None:
    for path in (made("gpt2") / "model").glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    one = Vocabulary(tmp_path)
    said = json.loads((tmp_path / "tokenizer_config.json").read_text()) | {"add_bos_token": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(said))
    other = Vocabulary(tmp_path)
    assert (one.frame, other.frame) == (([], []), ([0], []))
    assert one.sha256 != other.sha256


@pytest.mark.parametrize("name", DECODERS)
def test_greedy_text_is_that_of_the_pipeline(name: str, made: Made) -> None:
    folder = made(name)
    text = TEXTS[0]
    pipeline = transformers.pipeline("text-generation", str(folder / "model"))
    [wanted] = pipeline(text, do_sample=False, max_new_tokens=12)
    assert answers(folder / "run", [text], False, 12, GREEDY, quiet) == [wanted["generated_text"]]
    model = load_model(folder / "run")
    [found] = generate(model, [prompt_ids(model, text, False)], 12, GREEDY, stop_ids(model.vocabulary))
    assert len(set(found)) > 2  # a model that says one thing again and again would show little


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_masks_are_filled_as_by_the_pipeline(name: str, made: Made) -> None:
    folder = made(name)
    pipeline = transformers.pipeline("fill-mask", str(folder / "model"))
    mask = pipeline.tokenizer.mask_token
    for text in ("adds the <mask> of a list.", "<mask> the file"):
        wanted = pipeline(text.replace("<mask>", mask), top_k=5)
        [filled] = blanks(folder / "run", [text], 8, Beams())
        [found] = filled.blanks
        size = load_model(folder / "run").vocabulary.size
        tokens = [one["token"] for one in wanted if one["token"] < size]
        decoded = [pipeline.tokenizer.decode([one], skip_special_tokens=True) for one in tokens]
        assert [one.text for one in found][: len(tokens)] == decoded


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_blanks_are_filled_as_transformers_generates(name: str, made: Made) -> None:
    folder = made(name)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model")
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder / "model").eval()
    model = load_model(folder / "run")
    text = "adds the <mask> of a list." if name == "bart" else "adds the <extra_id_0> of a list."
    ids = prompt_ids(model, text, False)
    assert ids == tokenizer(text)["input_ids"]
    with torch.no_grad():
        made_ids = theirs.generate(torch.tensor([ids]), do_sample=False, num_beams=1, max_new_tokens=11)
    [found] = generate(model, [ids], 10, GREEDY, stop_ids(model.vocabulary))
    wanted = [one for one in made_ids[0].tolist()[1:] if one != model.vocabulary.eos]
    assert found == wanted[:10]  # their last one is forced to be <eos> in a BART
    [filled] = blanks(folder / "run", ["adds the <mask> of a list."], 8, Beams())
    if name == "t5":
        assert filled.text.startswith("adds the")
        assert len(filled.blanks) == 1


@pytest.mark.parametrize("name", published.FOLDERS)
def test_exported_again_the_tokenizer_is_as_it_was(name: str, made: Made, tmp_path: Path) -> None:
    folder = made(name)
    export(folder / "run", tmp_path / "back", quiet)
    for path in (folder / "model").iterdir():
        if path.name.startswith(("tokenizer", "spiece", "special")):
            assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()
    one, other = (
        transformers.AutoTokenizer.from_pretrained(at) for at in (folder / "model", tmp_path / "back")
    )
    assert [one(text)["input_ids"] for text in TEXTS] == [other(text)["input_ids"] for text in TEXTS]


@pytest.mark.parametrize("name", ["llama", "bert", "roberta", "t5", "bart"])
def test_imported_models_are_evaluated_on_their_own_tokens(name: str, made: Made, tmp_path: Path) -> None:
    run = made(name) / "run"
    texts = {
        "train": tiny.sentences(40),
        "validation": [" ".join(tiny.sentences(14, n)) for n in range(1, 9)],
    }
    tiny.dataset(tmp_path / "dataset", texts, tokenizer=Vocabulary(run))
    sections = read_config(run).model_dump() | {
        "data": {"sequence_length": 24},
        "eval": {"questions": 3, "shots": [0], "generated_tokens": 4, "validation_tokens": 200},
    }
    config = EvaluationConfig.model_validate(sections)
    counts = evaluate(config, tmp_path / "dataset", {"pretrained": run}, tmp_path / "eval", quiet).counts
    assert 0 < counts["runs"]["pretrained"]["validation"]["loss"] < 30
    lines = (tmp_path / "eval" / "samples.jsonl").read_text().splitlines()
    samples = [one for one in map(json.loads, lines) if one["blanks"]]
    assert bool(samples) == (name != "llama")
    blank = "<extra_id_0>" if name == "t5" else "<mask>"
    assert any(blank in one["prompt"] for one in samples) == bool(samples)
    for one in samples:
        restored = one["reference"].replace("«", "").replace("»", "")
        assert any(restored in text for text in texts["validation"]), restored


def test_a_folder_without_rules_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(InputError, match=r"no tokenizer.json in it.*AutoTokenizer.from_pretrained"):
        Vocabulary(tmp_path)
    (tmp_path / "vocab.json").unlink()
    with pytest.raises(InputError, match="no tokenizer"):
        Vocabulary(tmp_path)


def test_without_the_library_the_extra_is_named(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"pip install 'bloomery\[export\]'"):
        Vocabulary(made("gpt2") / "run")


@pytest.mark.parametrize(
    "content", ['{"model": {}}', '{"model": null}', "[]", "{", '{"model": {"vocab": {"a": 0}}}']
)
def test_a_damaged_tokenizer_json_is_refused_by_its_name(content: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match=r"tokenizer\.json: "):
        Vocabulary(tmp_path)


def test_a_damaged_archive_is_refused(made: Made, tmp_path: Path) -> None:
    packed = (made("gpt2") / "run" / TOKENIZER).read_bytes()
    (tmp_path / TOKENIZER).write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="no zip archive that can be read"):
        Vocabulary(tmp_path / TOKENIZER)
    with zipfile.ZipFile(tmp_path / TOKENIZER, "w") as other:
        other.writestr("x", "y")
    with pytest.raises(InputError, match="not a packed tokenizer"):
        Vocabulary(tmp_path / TOKENIZER)


def test_logits_that_are_no_numbers_prove_nothing() -> None:
    def run(inputs: Any) -> Any:
        return {"logits": torch.full((1, 2, 3), float("nan"))}

    with pytest.raises(InputError, match="differ by nan"):
        agreement.compare(run, run, {"tokens": torch.ones(1, 2)}, "here")
