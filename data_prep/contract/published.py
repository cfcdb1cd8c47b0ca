"""A published tokenizer as one file: a Hugging Face folder's files as they are, and what its tokens are for.

    tokenizer.model     a zip archive without compression or dates: equal content is equal bytes
      roles.json        `Roles`
      tokenizer.json, tokenizer_config.json, spiece.model, ...      whatever the folder has of them

So a run or a dataset carries all that it needs in the one file whose hash stands for its token ids.
"""

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sentencepiece
from pydantic import Field, ValidationError

from data_prep.contract.reading import open_zip, read_bytes, read_json
from data_prep.contract.settings import InputError, Settings

ROLES = "roles.json"
TOKENIZER_JSON = "tokenizer.json"
MODELS = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
"""Names of SentencePiece models."""
WORDS = ("vocab.json", "vocab.txt")
"""Names of plain lists of pieces, to which transformers adds rules that are in no file."""
SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
FILES = (TOKENIZER_JSON, *MODELS, *WORDS, *SETTINGS, "merges.txt", "added_tokens.json", "chat_template.jinja")
CONFIG = "config.json"
ARCHIVE = b"PK\x03\x04"
TOKENIZER_BYTES = 256 << 20
"""Largest file of a tokenizer, packed or not: that of 260,000 pieces has 33 MB."""
MOST_PIECES = 1 << 24
KINDS = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")

_BERT = {name: f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
_ROBERTA = {"pad": "<pad>", "unk": "<unk>", "bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>"}
_END = "<|endoftext|>"
UNSAID: dict[str, dict[str, str]] = {
    "bert": _BERT,
    "roberta": _ROBERTA | {"mask": "<mask>"},
    "bart": _ROBERTA | {"mask": "<mask>"},
    "gpt2": {"unk": _END, "bos": _END, "eos": _END},
    "falcon": {"bos": _END, "eos": _END},
    "opt": {"pad": "<pad>", "unk": "</s>", "bos": "</s>", "eos": "</s>"},
    "bloom": {"pad": "<pad>", "unk": "<unk>", "bos": "<s>", "eos": "</s>"},
    "t5": {"pad": "<pad>", "unk": "<unk>", "eos": "</s>"},
    "llama": {"unk": "<unk>", "bos": "<s>", "eos": "</s>"},
}
"""What the tokens of old folders are for where no file says it, by `model_type`."""


class Roles(Settings):
    reads: str
    """The file of the archive that makes the ids: tokenizer.json or a SentencePiece model."""
    names: dict[str, int] = Field(default_factory=dict)
    """Ids of special tokens by their own names, and as <pad>, <mask> and so on by what they are for."""
    before: list[int] | None = None
    """Ids that the tokenizer puts before a text; null where nobody says."""
    after: list[int] = Field(default_factory=list)
    """Ids that it puts behind one."""


def pack(folder: Path, ours: Iterable[str]) -> bytes:
    """The tokenizer of a Hugging Face folder as one file; a SentencePiece model with all of `ours` as it is.

    The SentencePiece model makes the ids where it has as many as tokenizer.json (Llama), else that does (T5's
    model lacks the sentinels). Raises `InputError` where there is neither.
    """
    files = {
        name: read_bytes(folder / name, limit=TOKENIZER_BYTES) for name in FILES if (folder / name).is_file()
    }
    model = next((name for name in MODELS if name in files), None)
    known = _ids(folder, files) if TOKENIZER_JSON in files else {}
    if model:
        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(files[model])
        except RuntimeError as error:
            raise InputError(f"{folder / model}: not a SentencePiece model ({error})") from error
        if all(processor.IdToPiece(processor.PieceToId(piece)) == piece for piece in ours):
            return files[model]
        if processor.GetPieceSize() > max(known.values(), default=-1):
            return archive(files, _model_roles(folder, files, model, processor))
    if known:
        return archive(files, _json_roles(folder, files, known))
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
        for name, content in {ROLES: (roles.model_dump_json() + "\n").encode(), **files}.items():
            packed.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def unpack(path: Path, content: bytes) -> tuple[Roles, dict[str, bytes]]:
    """What is in an archive; `InputError` where it is not one of ours."""
    files = open_zip(content, path, names=(ROLES, *FILES), limit=2 * TOKENIZER_BYTES)
    try:
        roles = Roles.model_validate(read_json(files.pop(ROLES), f"{path}: {ROLES}"))
        return roles, {roles.reads: files[roles.reads]} | files
    except (KeyError, ValidationError) as error:
        raise InputError(f"{path}: not a packed tokenizer ({error})".replace("\n", " ")) from error


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Within this, what the library tokenizers makes of its own troubles is an `InputError`.

    It raises plain `Exception`, and for what it did not foresee, such as a pattern that backtracks too long,
    a PanicException, which is none: pyo3 derives it from BaseException.
    """
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        problem = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: the library tokenizers fails with this tokenizer ({problem})") from None


def open_tokenizer(path: Path, content: bytes) -> Any:
    """A tokenizer.json in the hands of the library tokenizers, which finds no special token in a text."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise InputError(
            f"{path}: a {TOKENIZER_JSON} is read by the library tokenizers, which is not installed; "
            "pip install 'bloomery[export]'"
        ) from None
    try:
        with understood(path):
            tokenizer = Tokenizer.from_str(content.decode())
    except (UnicodeDecodeError, InputError) as error:
        raise InputError(f"{path}: not a {TOKENIZER_JSON} ({error})") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _parsed(folder: Path, files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    if name not in files:
        return {}
    found = read_json(files[name], folder / name)
    if not isinstance(found, dict):
        raise InputError(f"{folder / name}: a JSON object is expected")
    return found


def _ids(folder: Path, files: Mapping[str, bytes]) -> dict[str, int]:
    """The ids of all pieces in a tokenizer.json."""
    content = _parsed(folder, files, TOKENIZER_JSON)
    try:
        vocabulary = content["model"]["vocab"]
        if isinstance(vocabulary, list):
            vocabulary = {piece: index for index, (piece, _) in enumerate(vocabulary)}
        ids = {**vocabulary, **{one["content"]: one["id"] for one in content.get("added_tokens", ())}}
        if not all(type(index) is int and 0 <= index < MOST_PIECES for index in ids.values()):
            raise ValueError(f"ids from 0 to {MOST_PIECES - 1:,} are expected")
        return ids
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder / TOKENIZER_JSON}: not a tokenizer of pieces with ids ({error!r})"
        ) from error


def _model_roles(folder: Path, files: Mapping[str, bytes], model: str, processor: Any) -> Roles:
    """A SentencePiece model knows its tokens; only what stands around a text is said elsewhere."""
    config = _config(folder)
    said = _parsed(folder, files, SETTINGS[0])
    begins = said.get("add_bos_token", config.get("model_type") == "llama")
    ends = said.get("add_eos_token", config.get("model_type") == "t5")
    before = [processor.bos_id()] if begins and processor.bos_id() >= 0 else []
    after = [processor.eos_id()] if ends else []
    return Roles(reads=model, before=before if before or after or said else None, after=after)


def _json_roles(folder: Path, files: Mapping[str, bytes], known: Mapping[str, int]) -> Roles:
    content = _parsed(folder, files, TOKENIZER_JSON)
    special = {one["content"]: one["id"] for one in content.get("added_tokens", ()) if one.get("special")}
    names = special | {f"<{kind}>": index for kind, index in _by_kind(folder, files, known).items()}
    tokenizer = open_tokenizer(folder / TOKENIZER_JSON, files[TOKENIZER_JSON])
    with understood(folder / TOKENIZER_JSON):
        plain = tokenizer.encode("a", add_special_tokens=False).ids
        whole = tokenizer.encode("a").ids
    start = next((i for i in range(len(whole) + 1) if whole[i : i + len(plain)] == plain), None)
    if start is None:
        raise InputError(f"{folder / TOKENIZER_JSON}: puts special tokens inside of a text, not around it")
    before, after = whole[:start], whole[start + len(plain) :]
    if _parsed(folder, files, SETTINGS[0]).get("add_bos_token") and not before and "<bos>" in names:
        before = [names["<bos>"]]
    return Roles(reads=TOKENIZER_JSON, names=names, before=before, after=after)


def _by_kind(folder: Path, files: Mapping[str, bytes], known: Mapping[str, int]) -> dict[str, int]:
    """Ids of <pad>, <eos> and the like, from the first file that says them."""
    config, sections = _config(folder), [_parsed(folder, files, name) for name in SETTINGS]
    usual = UNSAID.get(str(config.get("model_type")), {})
    found = {}
    for kind in KINDS:
        said = next((one[f"{kind}_token"] for one in sections if one.get(f"{kind}_token")), None)
        piece = said.get("content") if isinstance(said, dict) else said
        index = known.get(str(piece), config.get(f"{kind}_token_id"))
        if isinstance(index, list):  # several tokens may end a text
            index = next(iter(index), None)
        if index not in known.values():
            index = known.get(usual.get(kind, ""))
        if index is not None:
            found[kind] = index
    return found


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    return (
        _parsed(folder, {CONFIG: read_bytes(path, limit=TOKENIZER_BYTES)}, CONFIG) if path.is_file() else {}
    )
