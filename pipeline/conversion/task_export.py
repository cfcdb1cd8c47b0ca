"""A fine-tuned run as the folder of transformers' class for its task, proved as other exports are.

Every number is read back, and both models are run on one batch. A regression's head gives numbers of mean 0
and deviation 1; config.json has both under `task_specific_params`.
"""

from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_prep.contract.reading import printable
from data_prep.contract.settings import InputError
from pipeline.checkpoints.format import Checkpoint
from pipeline.conversion import files
from pipeline.conversion.agreement import TOLERANCE, Say
from pipeline.conversion.choose import family_of
from pipeline.conversion.family import Facts
from pipeline.conversion.links import exported, links
from pipeline.conversion.skeleton import shapes
from pipeline.conversion.task_heads import about, with_head
from pipeline.conversion.tokenizer import write_tokenizer
from pipeline.generation.load import open_model
from pipeline.parallel.examples import tensors
from pipeline.tasks.task import Feature, Task

ROWS, LONGEST, CHOICES = 3, 48, 2


def export_task(
    checkpoint: Checkpoint, task: Task, facts: Facts, out: Path, say: Say, average: bool
) -> dict[str, Any]:
    """Write the checkpoint of a fine-tuned run; returns what was written and shown.

    Raises `InputError` where transformers has no such class, or the two models do not agree.
    """
    config = task.config
    family = with_head(family_of(config.model, facts), task)
    ours = shapes(config, task.vocabulary.size, task.head)
    checkpoint.check_fits(ours)
    weight = partial(checkpoint.merged, average=average)
    the_links = links(family, config.model, facts, ours)
    with files.appearing(out) as folder:
        say(f"writing {family.classes[0]} to {out}")
        files.write_tensors(folder, exported(the_links, weight))
        files.write_json(
            folder / files.CONFIG, family.write(config.model, facts) | about(task) | _start(task)
        )
        write_tokenizer(folder, task.vocabulary, facts.positions, say)
        read = files.Tensors(folder)
        for name, tensor in exported(the_links, weight):
            if not torch.equal(read[name], tensor):
                raise InputError(f"{out}: {name} does not come back as it was; nothing was written")
        say(f"{len(read.places)} tensors read back, every number equal")
        model = open_model(checkpoint, config, task.vocabulary, average, task.head)
        shown = compare(folder, family.classes[0], task, model.module, say)
    return {
        "model_type": family.model_type,
        "class": family.classes[0],
        "folder": str(out),
        "step": checkpoint.index.step,
    } | shown


def _start(task: Task) -> dict[str, Any]:
    """What a decoder behind an encoder begins with."""
    both = task.config.model.architecture == "encoder_decoder"
    return {"decoder_start_token_id": task.frame.start} if both else {}


def features(task: Task, rows: int = ROWS) -> list[Feature]:
    """Samples of random tokens and different lengths, pairs where there is a choice between texts."""
    generator = torch.Generator().manual_seed(0)
    known = [one for one in range(task.vocabulary.size) if one not in task.vocabulary.reserved]
    length = min(LONGEST, task.frame.room(pair=True))

    def text(count: int) -> list[int]:
        drawn = torch.randint(len(known), (max(1, count),), generator=generator)
        return [known[one] for one in drawn.tolist()]

    samples = CHOICES if task.form == "choices" else 1
    lengths = [length - 3 * row for row in range(rows)]
    return [
        Feature(row, tuple(task.frame.make(text(own // 2), text(own // 3))[0] for _ in range(samples)))
        for row, own in enumerate(lengths)
    ]


def their_inputs(task: Task, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """A batch of ours by the names that transformers has."""
    tokens = batch.get("encoder_tokens", batch["tokens"])
    if "last" in batch and "encoder_tokens" not in batch:
        mask = (torch.arange(tokens.shape[1]) <= batch["last"].unsqueeze(1)).long()
    else:
        mask = batch.get("encoder_segments", batch.get("segments", torch.ones_like(tokens))).long()
    found = {"input_ids": tokens, "attention_mask": mask}
    if "token_types" in batch:
        found["token_type_ids"] = batch["token_types"]
    if task.form == "choices":
        found = {name: one.view(-1, CHOICES, one.shape[1]) for name, one in found.items()}
    return found


def their_scores(task: Task, outputs: Any) -> Tensor:
    """Their outputs in the shape of our `scores`, batch first."""
    if task.form == "spans":
        return torch.stack([outputs.start_logits, outputs.end_logits], 2)
    scores: Tensor = outputs.logits
    return scores.flatten().unsqueeze(1) if task.form == "choices" else scores


@torch.inference_mode()
def compare(folder: Path, name: str, task: Task, module: torch.nn.Module, say: Say) -> dict[str, Any]:
    """The largest difference of scores over the largest score; `InputError` above the tolerance."""
    if find_spec("transformers") is None:
        say("transformers is not installed: the two models were not run side by side")
        return {"compared_with": "numbers alone"}
    transformers: Any = import_module("transformers")
    transformers.utils.logging.disable_progress_bar()
    try:
        model, report = getattr(transformers, name).from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, local_files_only=True
        )
    except Exception as error:  # whatever a configuration makes it raise
        problem = printable(" ".join(str(error).split()))[:300]
        raise InputError(
            f"{folder}: transformers cannot load it ({type(error).__name__}: {problem})"
        ) from None
    if report["missing_keys"] or report["mismatched_keys"]:
        missing = sorted([*report["missing_keys"], *report["mismatched_keys"]])
        raise InputError(f"{folder}: transformers misses {missing}")
    some = features(task)
    width = max(one.length for one in some)
    batch = task.frame.batch([text for one in some for text in one.texts], width)
    inputs = tensors(batch, torch.device("cpu"))
    ours = module({name: one.to(next(module.parameters()).device) for name, one in inputs.items()})["scores"]
    found, wanted = ours.cpu().float(), their_scores(task, model.eval()(**their_inputs(task, inputs)))
    if task.form in ("tokens", "spans"):
        real = inputs["segments"].bool()
        found, wanted = found.transpose(0, 1)[real], wanted[real]
    difference = float((found - wanted).abs().max() / wanted.abs().max())
    if not difference <= TOLERANCE:
        raise InputError(
            f"{folder}: the scores of the two models differ by {difference:.1e} of the largest one; the "
            "conversion is wrong and nothing was written"
        )
    say(f"both models on one batch (transformers): largest difference {difference:.1e} of the largest score")
    return {"compared_with": "transformers", "difference": difference}
