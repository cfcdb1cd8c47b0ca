"""Encoders without a language head, and how much a model can read: what comes in is what goes out."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from data_prep.contract.settings import InputError
from pipeline.checkpoints.run_folder import read_config, write_config
from pipeline.config import PipelineConfig
from pipeline.conversion import agreement
from pipeline.conversion.export import export
from pipeline.conversion.imports import import_folder
from pipeline.generation.beams import Beams
from pipeline.generation.load import load_model
from pipeline.prompting.fill import fill
from tests.pipeline.conversion import published


def quiet(line: str) -> None:
    """What is said along the way."""


def bare(name: str, folder: Path, pooler: bool) -> Path:
    """The published folder as its bare class saves it."""
    published.build(name, folder)
    loader = {"bert": transformers.BertModel, "roberta": transformers.RobertaModel}[name]
    model = loader.from_pretrained(folder, add_pooling_layer=pooler)
    if pooler:
        torch.nn.init.normal_(model.pooler.dense.weight, std=0.3)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("pooler", [True, False])
@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_a_bare_encoder_is_imported_as_one(name: str, pooler: bool, tmp_path: Path) -> None:
    folder = bare(name, tmp_path / "model", pooler)
    shown = import_folder(folder, tmp_path / "run", quiet)
    assert shown["compared_with"] == "transformers"
    config = read_config(tmp_path / "run")
    assert (config.model.language_head, config.model.pooler) == (False, pooler)
    ours = load_model(tmp_path / "run")
    tokens = torch.randint(5, 100, (2, 12), generator=torch.Generator().manual_seed(0))
    theirs = type(transformers.AutoModel.from_pretrained(folder)).from_pretrained(folder).eval()
    with torch.no_grad():
        wanted = theirs(tokens)
        outputs = ours.module({"tokens": tokens})
    torch.testing.assert_close(outputs["hidden"].transpose(0, 1), wanted.last_hidden_state, atol=1e-4, rtol=0)
    assert ("pooled" in outputs) == pooler
    if pooler:
        torch.testing.assert_close(outputs["pooled"], wanted.pooler_output, atol=1e-4, rtol=0)
    with pytest.raises(InputError, match="no language head"):
        fill(ours, ["a <mask>"], 5, 8, Beams())
    assert export(tmp_path / "run", tmp_path / "back", quiet)["compared_with"] == "transformers"
    was, now = (load_file(place / "model.safetensors") for place in (folder, tmp_path / "back"))
    assert was.keys() == now.keys()
    size = ours.vocabulary.size
    for key, tensor in was.items():
        kept = tensor[:size] if "word_embeddings" in key else tensor
        unused = 2 if name == "roberta" and "position" in key else 0  # rows in front of the first position
        assert torch.equal(now[key][unused:], kept[unused:]), key
    said = json.loads((tmp_path / "back" / "config.json").read_text())
    assert said["architectures"] == ["BertModel" if name == "bert" else "RobertaModel"]


def test_an_encoder_whose_head_is_lost_is_no_bare_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its class says that there is one; nothing else tells, without transformers."""
    published.build("roberta", tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("lm_head")}
    save_file(tensors, path, metadata={"format": "pt"})
    monkeypatch.setattr(agreement, "theirs", lambda *given: None)
    with pytest.raises(InputError, match=r"tensor lm_head\.\S+ is missing"):
        import_folder(tmp_path / "model", tmp_path / "run", quiet)


KEYS = {"t5": "n_positions", "bloom": "seq_length"}


@pytest.mark.parametrize("name", ["llama", "falcon", "t5", "bloom", "gpt2", "bart", "roberta"])
@pytest.mark.parametrize("trained_on", [24, 200])
def test_what_a_model_can_read_is_the_larger_of_what_it_came_with_and_was_trained_on(
    name: str, trained_on: int, tmp_path: Path
) -> None:
    published.build(name, tmp_path / "model")
    key = KEYS.get(name, "n_positions" if name == "gpt2" else "max_position_embeddings")
    path = tmp_path / "model" / "config.json"
    came = json.loads(path.read_text())
    if name == "bloom":  # the class has no such key
        path.write_text(json.dumps(came | {key: published.LONGEST}))
    import_folder(tmp_path / "model", tmp_path / "run", quiet)
    sections: dict[str, Any] = read_config(tmp_path / "run").model_dump(mode="json")
    assert sections["model"]["context_length"] == published.LONGEST
    has_table = name in ("gpt2", "bart", "roberta")
    if has_table and trained_on > published.LONGEST:
        return
    sections["data"]["sequence_length"] = trained_on
    config = PipelineConfig.model_validate(sections)
    write_config(tmp_path / "run", config)
    wanted = max(trained_on, published.LONGEST)
    assert config.context_length == wanted
    export(tmp_path / "run", tmp_path / "back", quiet)
    said = json.loads((tmp_path / "back" / "config.json").read_text())
    assert said[key] == wanted + (2 if name == "roberta" else 0)
    import_folder(tmp_path / "back", tmp_path / "again", quiet)
    assert read_config(tmp_path / "again").context_length == wanted
    session = load_model(tmp_path / "run").session() if name in ("llama", "gpt2") else None
    assert session is None or session.longest == wanted
