"""`bloomery export`: a checkpoint as a Hugging Face folder that transformers loads with no code of ours.

    config.json  generation_config.json  model.safetensors (or files of 5 GB with an index)
    tokenizer.json  tokenizer_config.json  special_tokens_map.json  tokenizer.model

Everything is written to a temporary name, checked there and renamed.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.receipt import OLD_KINDS, kind_of, read_receipt
from data_prep.contract.roles import GENERATION
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.run_folder import IDENTITY, read_config
from pipeline.config import PipelineConfig
from pipeline.conversion import agreement, files
from pipeline.conversion.agreement import Say
from pipeline.conversion.choose import family_of
from pipeline.conversion.electra import GENERATOR as GENERATOR_FOLDER
from pipeline.conversion.electra import write_discriminator
from pipeline.conversion.families.encoders import ELECTRA
from pipeline.conversion.family import Facts, Family
from pipeline.conversion.links import TOKEN_ROWS, Weights, exported, links
from pipeline.conversion.reading import Found, read_folder
from pipeline.conversion.skeleton import shapes
from pipeline.conversion.task_export import export_task
from pipeline.conversion.tokenizer import write_tokenizer
from pipeline.conversion.vision.export import export_images
from pipeline.generation.load import check_speaks, find_checkpoint
from pipeline.objectives.registry import objective_of
from pipeline.objectives.replacing import in_generator
from pipeline.prompting.chat import ChatTemplate
from pipeline.tasks.saved import task_in


def export(path: Path, out: Path, say: Say, average: bool = False) -> dict[str, Any]:
    """Write the checkpoint that `path` names, or the newest of that run; returns what was written and shown.

    Adapters are merged into the weights; with `average` these are their moving average.
    Raises `InputError` where transformers has no such architecture, or the two models do not agree.
    """
    checkpoint, run = find_checkpoint(path)
    damage = checkpoint.damage()
    if damage:
        raise InputError(f"{checkpoint.folder}: {damage}; use an earlier checkpoint")
    config = read_config(run)
    if config.vision is not None:
        return export_images(checkpoint, run, config, out, say, average)
    check_speaks(checkpoint)
    vocabulary = Vocabulary(run / TOKENIZER)
    if (task := task_in(run, config, vocabulary)) is not None and not task.generates:
        return export_task(checkpoint, task, facts_of(config, vocabulary), out, say, average)
    chats = task is None and config.can_answer and was_tuned(run, config)
    template = ChatTemplate(vocabulary) if chats else None
    if config.objective.span_boundary:
        say("the head of the span boundary objective, of which transformers has none, is left out")
        config = config.speaker
    facts = facts_of(config, vocabulary, template)
    weight = partial(checkpoint.merged, average=average)
    with files.appearing(out) as folder:
        if config.generator is None:
            checkpoint.check_fits(shapes(config, vocabulary.size))
            family = family_of(config.model, facts)
            shown = _write(folder, config, vocabulary, facts, family, weight, template, out, say)
        else:
            shown = _write_two(folder, config, vocabulary, facts, weight, out, say)
    return {"folder": str(out), "step": checkpoint.index.step} | shown


def _write(
    folder: Path,
    config: PipelineConfig,
    vocabulary: Vocabulary,
    facts: Facts,
    family: Family,
    weight: Weights,
    template: ChatTemplate | None,
    out: Path,
    say: Say,
) -> dict[str, Any]:
    """Write a model and show that transformers' model of the folder is the same."""
    the_links = links(family, config.model, facts, shapes(config, vocabulary.size))
    base = "" if config.model.language_head else family.base
    say(f"writing {family.model_type} to {out}")
    tensors = ((name.removeprefix(base), tensor) for name, tensor in exported(the_links, weight))
    files.write_tensors(folder, tensors)
    files.write_json(folder / files.CONFIG, family.write(config.model, facts) | _starts(config, vocabulary))
    files.write_json(folder / GENERATION, _generation(config, vocabulary, facts))
    write_tokenizer(folder, vocabulary, facts.positions, say, template)
    found = read_folder(folder, vocabulary.size, config.name)
    check_numbers(found, weight, vocabulary.size)
    shown = agreement.check(found, config, weight, files.read_json(folder / files.CONFIG), say)
    return {"model_type": family.model_type} | shown


def _write_two(
    folder: Path,
    config: PipelineConfig,
    vocabulary: Vocabulary,
    facts: Facts,
    weight: Weights,
    out: Path,
    say: Say,
) -> dict[str, Any]:
    """Write a discriminator, and the generator in a folder of its own inside."""
    say(f"writing the discriminator to {out}")
    write_tokenizer(folder, vocabulary, facts.positions, say)
    shown = write_discriminator(folder, config, facts, weight, say)
    inner = folder / GENERATOR_FOLDER
    inner.mkdir()

    def generators(name: str) -> Tensor:
        return weight(in_generator(name))

    place = out / GENERATOR_FOLDER
    narrow = _write(inner, config.speaker, vocabulary, facts, ELECTRA, generators, None, place, say)
    return {"model_type": ELECTRA.model_type} | shown | {"generator": narrow}


def was_tuned(run: Path, config: PipelineConfig) -> bool:
    """Whether a run learned to answer: by a stage of its own, or before it came here."""
    receipt, identity = read_receipt(run), run / IDENTITY
    if receipt is not None:
        kind = kind_of(receipt)
    else:
        said = files.read_json(identity) if identity.is_file() else {}
        kind = said.get("kind") or OLD_KINDS.get(str(said.get("stage")), "pretrain")
    return config.model.answers or kind not in ("pretrain", "import")


def facts_of(config: PipelineConfig, vocabulary: Vocabulary, template: ChatTemplate | None = None) -> Facts:
    """What the folder says beside the model's shape."""
    model, scaling = config.model, config.model.rope_scaling
    positions = config.position_table if model.positions == "learned" else config.context_length
    if scaling and scaling.kind == "dynamic":
        assert scaling.original_positions is not None
        positions = scaling.original_positions  # transformers stretches from there
    ends = set(vocabulary.ends if vocabulary.files or template else {vocabulary.eos})
    if template:
        ends.add(template.end)
    return Facts(
        vocabulary_size=vocabulary.size,
        pad=vocabulary.pad,
        bos=vocabulary.bos,
        eos=vocabulary.eos,
        positions=positions,
        sentence_head=config.objective.has_sentence_task,
        ends=tuple(sorted(ends)),
    )


def _starts(config: PipelineConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    """The decoder's first tokens: T5's is `<pad>`, BART's `<eos>`, as our objectives have it."""
    if config.model.architecture != "encoder_decoder":
        return {}
    start = {"decoder_start_token_id": objective_of(config.objective).decoder_start(vocabulary)}
    return start | ({} if vocabulary.forced is None else {"forced_bos_token_id": vocabulary.forced})


def _generation(config: PipelineConfig, vocabulary: Vocabulary, facts: Facts) -> dict[str, Any]:
    ends: Any = facts.ends[0] if len(facts.ends) == 1 else list(facts.ends) or None
    ids = {"pad_token_id": vocabulary.pad, "bos_token_id": vocabulary.bos, "eos_token_id": ends}
    return ids | _starts(config, vocabulary)


def check_numbers(found: Found, weight: Weights, tokens: int) -> None:
    """`InputError` unless what is read back from the files is what was written, number by number."""
    for name, tensor in found.tensors():
        held = weight(name)
        if name in TOKEN_ROWS:
            held, tensor = held[:tokens], tensor[:tokens]
        if not torch.equal(tensor, held):
            raise InputError(
                f"{found.source.folder}: {name} does not come back as it was; nothing was written"
            )
