"""The proof of a conversion: both models on the same batch, and every number read back.

A conversion is refused where the logits differ by more than 1e-4 of the largest one. Both sides add the
same products in other orders, which moves a deep model's logits by some 1e-6; a tensor under the wrong name,
turned or cut the wrong way moves them by their own size.
"""

import tempfile
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from data_prep.contract.reading import printable
from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig
from pipeline.conversion import files
from pipeline.conversion.links import Weights
from pipeline.conversion.reading import Found
from pipeline.distributed import world
from pipeline.models.build import Head
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack

TOLERANCE = 1e-4
ROWS, LONGEST = 3, 64
Say = Callable[[str], None]
Run = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def fits(parameters: int) -> bool:
    """Whether two float32 models of this size fit into memory beside what computing needs."""
    return 2.5 * 4 * parameters < psutil.virtual_memory().available


def batch(config: PipelineConfig, vocabulary_size: int) -> dict[str, Tensor]:
    """Random tokens [3, S], with padding at the ends of rows and two types of tokens where there are such."""
    generator = torch.Generator().manual_seed(config.seed)
    length = min(LONGEST, config.data.sequence_length, config.position_table)
    real = torch.tensor([length, max(length - 1, 1), max(length // 2, 1)]).unsqueeze(1)
    padding = (torch.arange(length) < real).int()
    low = min(16, vocabulary_size - 1)  # RoBERTa counts positions by what is not <pad>
    tokens, source = (
        torch.randint(low, vocabulary_size, (ROWS, length), generator=generator) for _ in range(2)
    )
    if config.model.architecture == "encoder":
        types = (torch.arange(length) >= length // 2).long().expand(ROWS, -1) * padding
        found = {"tokens": tokens, "segments": padding}
        return found | {"token_types": types} if config.model.token_types > 1 else found
    if config.model.architecture == "encoder_decoder":
        return {
            "tokens": tokens[:, : length // 2 + 1],
            "encoder_tokens": source,
            "encoder_segments": padding,
        }
    return {"tokens": tokens}


def ours(
    config: PipelineConfig,
    vocabulary_size: int,
    weights: Iterable[tuple[str, Tensor]],
    head: Head | None = None,
) -> Run:
    """What our model of these weights makes of a batch: logits [B, S, V], or [B, S] of a discriminator."""
    device = world.start_alone(config.seed).device
    stack = Stack(model_layers(config, vocabulary_size, torch.float32, head)).to(device).eval()
    named = dict(stack.named())
    with torch.no_grad():
        for name, weight in weights:
            named[name].copy_(weight)

    @torch.inference_mode()
    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs = stack({name: tensor.to(device) for name, tensor in inputs.items()})
        if "discriminator_logits" in outputs:
            return {"logits": outputs["discriminator_logits"].cpu()}
        if "logits" not in outputs:
            found = {"hidden states": outputs["hidden"].transpose(0, 1).cpu()}
            return found | ({"pooled": outputs["pooled"].cpu()} if "pooled" in outputs else {})
        found = {"logits": outputs["logits"].transpose(0, 1)[..., :vocabulary_size].cpu()}
        if "next_sentence_logits" in outputs:
            found["next sentence"] = outputs["next_sentence_logits"].cpu()
        return found

    return run


NAMES = {"tokens": "input_ids", "segments": "attention_mask", "token_types": "token_type_ids"}
PAIR_NAMES = {
    "tokens": "decoder_input_ids",
    "encoder_tokens": "input_ids",
    "encoder_segments": "attention_mask",
}


ASIDE = ("auto_map", "dtype", "torch_dtype", "attn_implementation", "experts_implementation", "adapters")
"""Keys of a configuration that have transformers fetch or run something, or count with other precision."""


def loaded(found: Found, config: dict[str, Any], class_name: str) -> Any:
    """Transformers' model of a folder; None where transformers is not installed.

    It is shown the configuration and the files of weights that were read here, and no other file.
    """
    if find_spec("transformers") is None:
        return None
    transformers: Any = import_module("transformers")
    transformers.utils.logging.disable_progress_bar()
    loader, options = getattr(transformers, class_name), {}
    may_pool = "pooler.dense" in found.family.table(found.config.model)
    if may_pool and not found.config.model.language_head and not found.config.model.pooler:
        options["add_pooling_layer"] = False
    place = found.source.folder
    with tempfile.TemporaryDirectory() as folder:
        shown(Path(folder), found, config)
        try:
            model, report = loader.from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True, local_files_only=True, **options
            )
        except Exception as error:  # whatever a configuration makes it raise
            problem = printable(" ".join(str(error).split()))[:300]
            raise InputError(
                f"{place}: transformers cannot load it ({type(error).__name__}: {problem})"
            ) from None
    for problem in ("missing_keys", "mismatched_keys"):
        if report[problem]:
            raise InputError(f"{place}: transformers finds {problem} {sorted(report[problem])}")
    return model.eval()


def theirs(found: Found, config: dict[str, Any], class_name: str) -> Run | None:
    """What transformers' model of a folder makes of a batch; None where transformers is not installed."""
    model = loaded(found, config, class_name)
    if model is None:
        return None

    @torch.inference_mode()
    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        names = PAIR_NAMES if "encoder_tokens" in inputs else NAMES
        outputs: Any = model(**{names[name]: tensor for name, tensor in inputs.items()})
        if not found.config.model.language_head:
            hidden = {"hidden states": outputs.last_hidden_state}
            return hidden | ({"pooled": outputs.pooler_output} if found.config.model.pooler else {})
        logits = outputs.logits if "logits" in outputs else outputs.prediction_logits
        result = {"logits": logits[..., : found.facts.vocabulary_size]}
        for name in ("seq_relationship_logits", "sop_logits"):
            if name in outputs:
                result["next sentence"] = outputs[name]
        return result

    return run


def shown(folder: Path, found: Found, config: dict[str, Any]) -> None:
    """A folder with links to the files of weights that were read, and their configuration."""
    kept = {name: one for name, one in config.items() if name not in ASIDE and not name.startswith("_")}
    files.write_json(folder / files.CONFIG, kept)
    names = sorted(set(found.source.places.values()))
    for name in names:
        (folder / name).symlink_to((found.source.folder / name).resolve())
    if names != [files.SINGLE]:
        places = {"metadata": {}, "weight_map": found.source.places}
        files.write_json(folder / files.INDEX, places)


def compare(one: Run, other: Run, inputs: dict[str, Tensor], place: str) -> float:
    """The largest difference on real tokens over the largest value; `InputError` above the tolerance."""
    found, wanted = one(inputs), other(inputs)
    real = inputs.get("segments", torch.ones_like(inputs["tokens"])).bool()
    worst = 0.0
    for name in wanted:
        by_token = name in ("logits", "hidden states")
        pair = [side[name][real] if by_token else side[name] for side in (found, wanted)]
        largest = float(pair[1].abs().max())
        difference = float((pair[0] - pair[1]).abs().max()) / largest
        if not difference <= TOLERANCE:  # nor where it is no number, which max() would pass over
            raise InputError(
                f"{place}: the {name} of the two models differ by {difference:.1e} of the largest one; the "
                f"conversion is wrong and nothing was written"
            )
        worst = max(worst, difference)
    return worst


def check(
    found: Found, own: PipelineConfig, weight: Weights, config: dict[str, Any], say: Say
) -> dict[str, Any]:
    """Compare the model of `weight` with transformers' of a folder whose numbers are known to be equal.

    Both run on one batch; where transformers is not installed ours is compared with what is read back, and
    where two models do not fit into memory with nothing. Says which it was.
    """
    parameters = sum(torch.Size(shape).numel() for shape in found.shapes.values())
    told = {"tensors": len(found.names), "parameters": parameters}
    say(f"{len(found.names)} tensors read back, every number equal")
    if not fits(parameters):
        say("two of these models do not fit into memory, so they were not run side by side")
        return told | {"compared_with": "numbers alone"}
    weights = ((name, weight(name)) for name in found.shapes)
    original = ours(own, found.facts.vocabulary_size, weights)
    class_name = found.family.class_of(found.config.model, found.facts)
    inputs = batch(found.config, found.facts.vocabulary_size)
    reference, against = theirs(found, config, class_name), "transformers"
    if reference is None:
        say("transformers is not installed: compared with what is read back from the folder alone")
        reference, against = ours(found.config, found.facts.vocabulary_size, found.tensors()), "read back"
    worst = compare(original, reference, inputs, str(found.source.folder))
    say(f"both models on one batch ({against}): largest difference {worst:.1e} of the largest value")
    return told | {"compared_with": against, "difference": worst}
