"""A SentencePiece model as the tokenizer.json of Hugging Face's tokenizers, with the same ids.

    tokenizer.model             the SentencePiece model as it is
    tokenizer.json              the same pieces, scores or merges, normalisation and byte fallback
    tokenizer_config.json       what transformers' AutoTokenizer needs beside it
    special_tokens_map.json     the same names for older versions of it

SentencePiece never finds a control symbol, a byte piece or `<unk>` in a text; a unigram model of tokenizers
finds whatever is in its vocabulary. Text that spells such a piece is therefore cut inside it, at a place that
no ordinary piece crosses, where a cut changes nothing else. Special tokens are left to a text's words too
(`split_special_tokens`), so that a document cannot forge one.

A published tokenizer goes out in the files in which it came, its chat template with them.
"""

import re
from base64 import b64encode
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.pieces import SPACE
from data_prep.contract.roles import SETTINGS
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import CLS, MASK, SEP, UNK, Vocabulary
from pipeline.conversion.agreement import Say
from pipeline.conversion.chat_files import check_markers, jinja, with_markers
from pipeline.conversion.files import read_json, write_json
from pipeline.conversion.tokenizer_check import compare
from pipeline.prompting.chat import ChatTemplate

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def write_tokenizer(
    folder: Path, vocabulary: Vocabulary, longest: int, say: Say, template: ChatTemplate | None = None
) -> None:
    """Write the files, with the chat template that a model was tuned on.

    `InputError` where the model does something that tokenizer.json cannot say, or where a large sample of
    text gets other ids.
    """
    for name, file in vocabulary.files.items():
        (folder / name).write_bytes(file)
    if vocabulary.files:
        if template and not template.published:
            _add_template(folder, vocabulary, template)
        return
    (folder / TOKENIZER).write_bytes(vocabulary.content)
    if find_spec("tokenizers") is None:
        say("the library tokenizers is not installed: tokenizer.json cannot be checked and is left out")
        return
    content = tokenizer_json(read_model(vocabulary.path), vocabulary)
    if template and template.marked:
        content = with_markers(content, content["model"]["type"] == "BPE")
        check_markers(content, vocabulary)
    compare(content, vocabulary, say)
    write_json(folder / "tokenizer.json", content)
    ids = {"unk": vocabulary.id_of(UNK), "pad": vocabulary.pad, "bos": vocabulary.bos, "eos": vocabulary.eos}
    names = {f"{name}_token": vocabulary.piece_of(index) for name, index in ids.items()}
    names |= {f"{piece.strip('<>')}_token": piece for piece in (CLS, SEP, MASK)}
    write_json(folder / "special_tokens_map.json", names)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": longest,
        "split_special_tokens": True,
        "clean_up_tokenization_spaces": False,
    }
    if template:
        settings["chat_template"] = jinja(template)
    write_json(folder / "tokenizer_config.json", settings | names)


def _add_template(folder: Path, vocabulary: Vocabulary, template: ChatTemplate) -> None:
    """Say the template of a tuning where a published tokenizer's files have none."""
    path = folder / SETTINGS[0]
    said = read_json(path) if path.is_file() else {}
    ids = {"bos": vocabulary.bos, "eos": vocabulary.eos}
    unsaid = {f"{name}_token": vocabulary.piece_of(index) for name, index in ids.items()}
    write_json(path, (said if said else unsaid) | {"chat_template": jinja(template)})


def read_model(path: Path) -> Any:
    """The parsed SentencePiece model."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(path.read_bytes())
    return model


def tokenizer_json(model: Any, vocabulary: Vocabulary) -> dict[str, Any]:
    """The content of tokenizer.json."""
    trainer, kinds = model.trainer_spec, {1: unigram, 2: bpe}
    if trainer.model_type not in kinds:
        raise InputError(f"{vocabulary.path}: neither a unigram nor a BPE model, which cannot be exported")
    if trainer.treat_whitespace_as_suffix or not model.normalizer_spec.escape_whitespaces:
        raise InputError(f"{vocabulary.path}: spaces are treated as tokenizer.json cannot say")
    pieces = [piece.piece for piece in model.pieces]
    special = [i for i, piece in enumerate(model.pieces) if piece.type in (CONTROL, UNKNOWN)]
    hidden = [piece.piece for piece in model.pieces if piece.type in (CONTROL, UNKNOWN, BYTE, UNUSED)]
    ordinary = [piece.piece for piece in model.pieces if piece.type in (NORMAL, USER_DEFINED)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special(index, pieces[index]) for index in special],
        "normalizer": normalizer(model.normalizer_spec),
        "pre_tokenizer": apart(hidden, ordinary),
        "post_processor": None,
        "decoder": decoder(model),
        "model": kinds[trainer.model_type](model),
    }


def _special(index: int, piece: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": piece, **flags, "special": True}


def normalizer(spec: Any) -> dict[str, Any]:
    """SentencePiece's steps in its order: its character map, spaces, the prefix, the sign for a space."""
    steps: list[dict[str, Any]] = []
    if spec.precompiled_charsmap:
        charsmap = b64encode(spec.precompiled_charsmap).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": charsmap})
    if spec.remove_extra_whitespaces:
        steps.append({"type": "Strip", "strip_left": True, "strip_right": True})
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    if spec.add_dummy_prefix:
        steps.append({"type": "Prepend", "prepend": SPACE})
    steps.append({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})
    return {"type": "Sequence", "normalizers": steps}


def apart(hidden: Iterable[str], ordinary: Iterable[str]) -> dict[str, Any] | None:
    """A split inside every hidden piece that a text might spell.

    `InputError` where ordinary pieces cross all places at which one could be cut.
    """
    crossings = "\n\n".join(ordinary)
    tails: dict[str, list[str]] = {}
    for piece in hidden:
        head = next(
            (piece[:cut] for cut in range(1, len(piece)) if not _crossed(piece, cut, crossings)), None
        )
        if head is None:
            raise InputError(
                f"the tokenizer's pieces overlap {piece} in a way that tokenizer.json cannot say"
            )
        tails.setdefault(head, []).append(piece[len(head) :])
    if not tails:
        return None
    choices = [f"{re.escape(head)}(?={'|'.join(map(re.escape, found))})" for head, found in tails.items()]
    pattern = {"Regex": "|".join(choices)}
    return {"type": "Split", "pattern": pattern, "behavior": "MergedWithPrevious", "invert": False}


def _crossed(piece: str, cut: int, crossings: str) -> bool:
    """Whether an ordinary piece could lie over the cut."""
    return piece[cut - 1 : cut + 1] in crossings


def unigram(model: Any) -> dict[str, Any]:
    """Pieces with their scores."""
    return {
        "type": "Unigram",
        "unk_id": model.trainer_spec.unk_id,
        "vocab": [[piece.piece, piece.score] for piece in model.pieces],
        "byte_fallback": model.trainer_spec.byte_fallback,
    }


def bpe(model: Any) -> dict[str, Any]:
    """Pieces with the merges that make them, likeliest first: every way to cut a piece into two others."""
    scores = {piece.piece: piece.score for piece in model.pieces if piece.type in (NORMAL, USER_DEFINED)}
    index = {piece.piece: i for i, piece in enumerate(model.pieces)}
    merges = []
    for piece, score in scores.items():
        if model.pieces[index[piece]].type != NORMAL:
            continue
        pairs = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        known = [pair for pair in pairs if pair[0] in scores and pair[1] in scores]
        merges += [(-score, index[left], index[right], left, right) for left, right in known]
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": model.trainer_spec.unk_piece,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": model.trainer_spec.byte_fallback,
        "ignore_merges": False,
        "vocab": index,
        "merges": [[left, right] for *_, left, right in sorted(merges)],
    }


def decoder(model: Any) -> dict[str, Any]:
    """Pieces to text: the sign for a space, bytes, and the prefix taken off."""
    steps: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if model.normalizer_spec.add_dummy_prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}
