"""Stretched rotary positions: rates equal transformers', logits and greedy texts too, there and back."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from data_prep.contract.settings import InputError
from pipeline.checkpoints.run_folder import read_config
from pipeline.config import ModelConfig, RopeScaling
from pipeline.conversion.export import export
from pipeline.conversion.families.rope import read_rope, write_rope
from pipeline.conversion.family import Facts, differences
from pipeline.conversion.imports import import_folder
from pipeline.generation.load import load_model
from pipeline.generation.sampling import GREEDY, generate
from pipeline.models.rotary import turn_rates
from tests.pipeline.conversion import published

ORIGINAL = 16
SECTIONS: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 2.5},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": ORIGINAL,
    },
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": ORIGINAL},
    "yarn with all": {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": ORIGINAL,
        "beta_fast": 8.0,
        "beta_slow": 2.0,
        "mscale": 1.2,
        "mscale_all_dim": 0.7,
        "truncate": False,
    },
    "yarn by its lengths": {
        "rope_type": "yarn",
        "factor": None,
        "original_max_position_embeddings": ORIGINAL,
    },
    "old words": {"type": "linear", "factor": 3.0},
}


def quiet(line: str) -> None:
    """What is said along the way."""


@pytest.mark.parametrize("base", [10_000.0, 500_000.0])
@pytest.mark.parametrize("name", SECTIONS)
def test_rates_are_those_of_transformers(name: str, base: float) -> None:
    section = SECTIONS[name]
    values = {"rope_scaling": section, "rope_theta": base, "max_position_embeddings": 64}
    config = transformers.LlamaConfig(head_dim=16, **json.loads(json.dumps(values)))
    read = read_rope(values, "here")
    assert read["rope_base"] == base
    for length in (10, 64, 150):
        kind = section.get("rope_type", section.get("type"))
        wanted, factor = ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)
        found = turn_rates(16, base, read["rope_scaling"], torch.arange(length))
        torch.testing.assert_close(found, wanted, rtol=2e-6, atol=0)
        assert read["rope_scaling"].attention_factor == pytest.approx(factor)
    written = write_rope({"rope_base": base, "rope_scaling": read["rope_scaling"].model_dump()})
    assert read_rope(written | {"max_position_embeddings": 64}, "here") == read


@pytest.mark.parametrize("name", [*SECTIONS, "falcon dynamic"])
def test_a_stretched_model_says_what_it_says_in_transformers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than it was first trained on, with a cache, and after an export and an import."""
    section = SECTIONS.get(name, {"rope_type": "dynamic", "factor": 3.0})
    longest = ORIGINAL if "dynamic" in name else 64
    save = published.save

    def stretched(folder: Path, *given: Any, **values: Any) -> None:
        rope = section | {"rope_theta": 20_000.0}
        save(folder, *given, **(values | {"rope_parameters": rope, "max_position_embeddings": longest}))

    monkeypatch.setattr(published, "save", stretched)
    published.build("falcon" if "falcon" in name else "llama", tmp_path / "model")
    assert import_folder(tmp_path / "model", tmp_path / "run", quiet)["compared_with"] == "transformers"
    export(tmp_path / "run", tmp_path / "back", quiet)
    import_folder(tmp_path / "back", tmp_path / "again", quiet)
    one, other = (read_config(tmp_path / place).model for place in ("run", "again"))
    assert one.rope_scaling
    assert one == other
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(5, 100, (1, 50), generator=generator)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    ours = load_model(tmp_path / "again")
    with torch.no_grad():
        wanted = theirs(tokens).logits
    found = ours.logits(tokens)[..., : wanted.shape[-1]]
    tokens_known = ours.vocabulary.size
    torch.testing.assert_close(found[..., :tokens_known], wanted[..., :tokens_known], rtol=0, atol=2e-4)
    if "dynamic" in name:
        return  # past what config.json says a model reads ours sees the end of a text
    with torch.no_grad():
        made = theirs.generate(tokens, do_sample=False, max_new_tokens=10, eos_token_id=-1)
    assert generate(ours, tokens.tolist(), 10, GREEDY)[0] == made[0, 50:].tolist()


def test_stretching_is_part_of_what_a_model_is_and_old_runs_keep_their_fingerprint() -> None:
    plain = ModelConfig(positions="rope")
    stretched = ModelConfig(positions="rope", rope_scaling=RopeScaling(kind="linear", factor=2.0))
    other = ModelConfig(positions="rope", rope_base=5.0, activation="relu", bias=False)
    assert set(differences(plain, stretched, Facts(0))) == {"rope_scaling"}
    assert set(differences(plain, other, Facts(0))) == {"rope_base", "activation", "bias"}
    new = {"rope_scaling", "context_length", "language_head", "pooler", "answers"}
    assert not new & plain.identity().keys()
    assert stretched.identity()["rope_scaling"]["factor"] == 2.0


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"rope_type": "longrope", "factor": 2.0}, "type 'longrope' are not supported"),
        ({"rope_type": ["x"]}, r"type \['x'\] are not supported"),
        ({"rope_type": "linear"}, "need factor"),
        ({"rope_type": "linear", "factor": "2"}, "factor is '2'"),
        ({"rope_type": "linear", "factor": -1.0}, r"factor is -1\.0"),
        ({"rope_type": "llama3", "factor": 8.0}, "need low_freq_factor"),
        (SECTIONS["llama3"] | {"low_freq_factor": 9.0}, "low_frequency 9.0 must be below"),
        (SECTIONS["llama3"] | {"original_max_position_embeddings": "x"}, "_embeddings is 'x'"),
        (SECTIONS["yarn"] | {"mscale": "x", "mscale_all_dim": 1.0}, "mscale is 'x'"),
        (SECTIONS["yarn"] | {"beta_fast": []}, r"beta_fast is \[\]"),
        ("abc", "rope_scaling is 'abc'"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
        ({"rope_type": "default", "rope_theta": "x"}, "rope_theta is 'x'"),
        ({"rope_type": "default", "rope_theta": -1}, "rope_theta is -1"),
    ],
)
def test_what_is_no_stretching_is_named(section: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_rope({"rope_scaling": section, "max_position_embeddings": 64}, "here")
