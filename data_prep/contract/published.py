"""A published tokenizer as one file: a Hugging Face folder's files as they are, and what its tokens are for.

    tokenizer.model     a zip archive without compression or dates: equal content is equal bytes
      roles.json        `Roles`
      tokenizer.json, tokenizer_config.json, spiece.model, ...      whatever the folder has of them

So a run or a dataset carries all that it needs in the one file whose hash stands for its token ids.
"""

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import sentencepiece
from pydantic import ValidationError

from data_prep.contract.library import library_errors, open_tokenizer
from data_prep.contract.reading import open_zip, printable, read_bytes
from data_prep.contract.roles import (
    CONFIG,
    FILES,
    GENERATION,
    MODELS,
    ROLES,
    TOKENIZER_JSON,
    WORDS,
    Folder,
    Roles,
    added_tokens,
    by_kind,
    ends,
    forced,
    pieces_of,
)
from data_prep.contract.settings import InputError

ARCHIVE = b"PK\x03\x04"
LIMIT = 256 << 20
"""Most bytes of a tokenizer's files together: the largest published one has 33 MB."""

__all__ = ["ARCHIVE", "CONFIG", "LIMIT", "TOKENIZER_JSON", "Roles", "archive", "pack", "unpack"]


def pack(folder: Path, ours: Iterable[str]) -> bytes:
    """The tokenizer of a Hugging Face folder as one file; a SentencePiece model with all of `ours` as it is.

    The SentencePiece model makes the ids where it has as many as tokenizer.json (Llama), else that does (T5's
    model lacks the sentinels). Raises `InputError` where there is neither.
    """
    paths = [folder / name for name in (*FILES, CONFIG, GENERATION)]
    read = Folder(folder, {path.name: read_bytes(path, limit=LIMIT) for path in paths if path.is_file()})
    files = {name: read.files[name] for name in FILES if name in read.files}
    model = next((name for name in MODELS if name in files), None)
    known = pieces_of(read) if TOKENIZER_JSON in files else {}
    if model:
        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(files[model])
        except RuntimeError as error:
            raise InputError(f"{folder / model}: not a SentencePiece model ({error})") from error
        if all(processor.IdToPiece(processor.PieceToId(piece)) == piece for piece in ours):
            return files[model]
        if processor.GetPieceSize() > max(known.values(), default=-1):
            return archive(files, _model_roles(read, model, processor))
    if known:
        return archive(files, _json_roles(read, known))
    if any(name in files for name in WORDS):
        raise InputError(
            f"{folder}: no {TOKENIZER_JSON} in it, and {' or '.join(WORDS)} does not say how a text is cut; "
            "let transformers write one: "
            f"AutoTokenizer.from_pretrained('{folder}').save_pretrained('{folder}')"
        )
    raise InputError(f"{folder}: no tokenizer ({TOKENIZER_JSON} or {' or '.join(MODELS)}) in it")


def archive(files: Mapping[str, bytes], roles: Roles) -> bytes:
    """The archive's bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:
        for name, content in {ROLES: (roles.written() + "\n").encode(), **files}.items():
            packed.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def unpack(path: Path, content: bytes) -> tuple[Roles, dict[str, bytes]]:
    """What is in an archive; `InputError` where it is not one of ours."""
    files = open_zip(content, path, names=(ROLES, *FILES), limit=LIMIT)
    try:
        roles = Roles.model_validate_json(files.pop(ROLES))
        return roles, {roles.reads: files[roles.reads]} | files
    except (KeyError, ValidationError) as error:
        problem = printable(str(error)).splitlines()[0]
        raise InputError(f"{path}: not a packed tokenizer ({problem})") from None


def _model_roles(read: Folder, model: str, processor: Any) -> Roles:
    """A SentencePiece model knows its tokens, but for what other files add to them or make of them."""
    size = processor.GetPieceSize()
    known = {processor.IdToPiece(index): index for index in range(size)}
    added = added_tokens(read, known, size)
    known |= {one.content: one.id for one in added}
    own = {
        "unk": processor.unk_id(),
        "bos": processor.bos_id(),
        "eos": processor.eos_id(),
        "pad": processor.pad_id(),
    }
    found = by_kind(read, known, ids_too=False)
    names = {one.content: one.id for one in added if one.special}
    names |= {f"<{kind}>": index for kind, index in found.items() if own.get(kind, -1) != index}
    said, config = read.settings, read.config
    begins = said.get("add_bos_token", config.get("model_type") == "llama")
    closes = said.get("add_eos_token", config.get("model_type") == "t5")
    bos, eos = (found.get(kind, own[kind]) for kind in ("bos", "eos"))
    before = [bos] if begins and bos >= 0 else []
    after = [eos] if closes and eos >= 0 else []
    return Roles(
        reads=model,
        names=names,
        before=before if before or after or said else None,
        after=after,
        added=added,
        ends=ends(read, size + len(added), eos),
        forced=forced(read, size + len(added)),
    )


def _json_roles(read: Folder, known: Mapping[str, int]) -> Roles:
    size = max(known.values()) + 1
    added = added_tokens(read, known, size)
    known = {**known, **{one.content: one.id for one in added}}
    content = read.parsed(TOKENIZER_JSON)
    special = {one["content"]: one["id"] for one in content.get("added_tokens") or () if one.get("special")}
    special |= {one.content: one.id for one in added if one.special}
    special |= {piece: known[piece] for piece in read.markers if piece in known and piece not in special}
    kinds = by_kind(read, known, ids_too=True)
    names = special | {f"<{kind}>": index for kind, index in kinds.items()}
    before, after = _frame(read)
    flags = [read.settings.get(f"add_{kind}_token") for kind in ("bos", "eos")]
    if flags != [None, None]:  # said at all, they stand for all that is put around a text
        before, after = (
            [kinds[kind]] if flag and kind in kinds else []
            for flag, kind in zip(flags, ("bos", "eos"), strict=True)
        )
    eos = kinds.get("eos", kinds.get("sep"))
    return Roles(
        reads=TOKENIZER_JSON,
        names=names,
        before=before,
        after=after,
        added=added,
        ends=ends(read, size + len(added), eos),
        forced=forced(read, size + len(added)),
    )


def _frame(read: Folder) -> tuple[list[int], list[int]]:
    """What a tokenizer.json puts before a text and behind it."""
    path = read.place / TOKENIZER_JSON
    tokenizer = open_tokenizer(path, read.parsed(TOKENIZER_JSON))
    with library_errors(path):
        plain = tokenizer.encode("a", add_special_tokens=False).ids
        whole = tokenizer.encode("a").ids
    starts = (i for i in range(len(whole) + 1) if whole[i : i + len(plain)] == plain)
    start = next(starts, None)
    if start is None:
        raise InputError(f"{path}: its post_processor does not leave a text as it is")
    return whole[:start], whole[start + len(plain) :]
