"""What the files of a Hugging Face folder say of its tokens: added ones, what each is for, what ends a text.

The rules are those of transformers: tokens that `added_tokens_decoder`, or else added_tokens.json, names are
behind the pieces in the order of their ids, and those that are named as special alone come last.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from data_prep.contract.reading import printable, read_json
from data_prep.contract.settings import InputError, Settings

ROLES = "roles.json"
TOKENIZER_JSON = "tokenizer.json"
MODELS = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
"""Names of SentencePiece models."""
WORDS = ("vocab.json", "vocab.txt")
"""Names of plain lists of pieces, to which transformers adds rules that are in no file."""
SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
ADDED, TEMPLATE = "added_tokens.json", "chat_template.jinja"
FILES = (TOKENIZER_JSON, *MODELS, *WORDS, *SETTINGS, "merges.txt", ADDED, TEMPLATE)
CONFIG, GENERATION = "config.json", "generation_config.json"
KINDS = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")
MOST_PIECES = 1 << 24
"""More than any tokenizer has: ids are looked up in tables of this length."""

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


class Added(Settings):
    """A token that the file which makes the ids does not have."""

    id: int = Field(ge=0, lt=MOST_PIECES)
    content: str = Field(min_length=1)
    special: bool = False
    """Whether no text is encoded into it."""


class Roles(Settings):
    later = frozenset({"added", "ends", "forced"})

    reads: str
    """The file of the archive that makes the ids: tokenizer.json or a SentencePiece model."""
    names: dict[str, int] = Field(default_factory=dict)
    """Ids of special tokens by their own names, and as <pad>, <mask> and so on by what they are for."""
    before: list[int] | None = None
    """Ids that the tokenizer puts before a text; null where nobody says."""
    after: list[int] = Field(default_factory=list)
    """Ids that it puts behind one."""
    added: list[Added] = Field(default_factory=list)
    """Tokens that other files add, in the order of their ids."""
    ends: list[int] | None = None
    """Ids that end what the model says, where they are others than <eos>."""
    forced: int | None = None
    """The id that every text of a decoder behind an encoder begins with, behind its start token."""

    def written(self) -> str:
        """Its JSON, without the fields of `later` that are unsaid."""
        return self.model_dump_json(include={*self.settled()})


@dataclass(frozen=True)
class Folder:
    """The JSON files of a folder, each parsed once, when it is asked for."""

    place: Path
    files: Mapping[str, bytes]
    _values: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def parsed(self, name: str) -> dict[str, Any]:
        """A file's object, empty where there is no such file."""
        if name not in self.files:
            return {}
        if name not in self._values:
            self._values[name] = read_json(self.files[name], self.place / name)
        found: Any = self._values[name]
        if not isinstance(found, dict):
            raise InputError(f"{self.place / name}: a JSON object is expected")
        return found

    @cached_property
    def config(self) -> dict[str, Any]:
        return self.parsed(CONFIG)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """tokenizer_config.json, with special_tokens_map.json over it where transformers reads that."""
        said = self.parsed(SETTINGS[0])
        return said if said.get("added_tokens_decoder") is not None else said | self.parsed(SETTINGS[1])

    @cached_property
    def template(self) -> str:
        """The chat templates of the folder, one behind the other."""
        said = self.settings.get("chat_template")
        found = [self.files.get(TEMPLATE, b"").decode(errors="replace")]
        if isinstance(said, list):
            said = [one.get("template") for one in said if isinstance(one, dict)]
        for one in said if isinstance(said, list) else [said]:
            found += [one] if isinstance(one, str) else []
        return "\n".join(found)

    @cached_property
    def chat_template(self) -> str | None:
        """The template that transformers writes a talk with: of several, the one called default."""
        if TEMPLATE in self.files:
            return self.files[TEMPLATE].decode(errors="replace")
        said = self.settings.get("chat_template")
        if isinstance(said, list):
            named = {one.get("name"): one.get("template") for one in said if isinstance(one, dict)}
            said = named.get("default")
        if said is None or isinstance(said, str):
            return said or None
        raise InputError(f"{self.place / SETTINGS[0]}: chat_template is {_shown(said)}; a text is expected")

    @cached_property
    def markers(self) -> list[str]:
        """Added tokens that a chat template writes, which must come from nowhere else."""
        listed = self.parsed(TOKENIZER_JSON).get("added_tokens") or []
        contents: list[Any] = [one.get("content") for one in listed if isinstance(one, dict)]
        return [one for one in contents if self.is_marker(one)]

    def is_marker(self, piece: Any) -> bool:
        """Whether a chat template writes this."""
        return isinstance(piece, str) and bool(piece.strip()) and piece in self.template

    def said(self, key: str) -> str | None:
        """The piece that is named as a special token."""
        one = self.settings.get(key)
        found = one.get("content") if isinstance(one, dict) else one
        if found is None or isinstance(found, str):
            return found or None
        raise InputError(f"{self.place / SETTINGS[0]}: {key} is {_shown(one)}; a piece is expected")


def pieces_of(read: Folder) -> dict[str, int]:
    """The ids of all pieces in a tokenizer.json."""
    path, content = read.place / TOKENIZER_JSON, read.parsed(TOKENIZER_JSON)
    try:
        vocabulary = content["model"]["vocab"]
        if isinstance(vocabulary, list):
            vocabulary = {piece: index for index, (piece, _) in enumerate(vocabulary)}
        found = {
            **vocabulary,
            **{one["content"]: one["id"] for one in content.get("added_tokens") or ()},
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a tokenizer of pieces with ids ({printable(repr(error))})") from None
    for piece, index in found.items():
        if type(index) is not int or not 0 <= index < MOST_PIECES or not isinstance(piece, str):
            raise InputError(f"{path}: the id of {_shown(piece)} is {_shown(index)}; a number is expected")
    return found


def added_tokens(read: Folder, known: Mapping[str, int], size: int) -> list[Added]:
    """The tokens that are in no piece of `known`, whose ids are below `size`.

    `InputError` where a file gives one another id than transformers would: the next one that is free.
    """
    found: list[Added] = []
    for one in _listed(read):
        place = known.get(one.content, size + len(found))
        if place != one.id:
            raise InputError(
                f"{read.place}: the added token {_shown(one.content)} has the id {one.id}; it would "
                f"get {place} in transformers"
            )
        if one.content not in known:
            found.append(one)
    there = {*known, *(one.content for one in found)}
    rows = read.config.get("vocab_size")
    for piece in _named(read):
        index = size + len(found)
        if piece not in there and type(rows) is int and index < rows:
            found.append(Added(id=index, content=piece, special=True))
            there.add(piece)
    return found


def _listed(read: Folder) -> list[Added]:
    """The tokens that have an id, by id."""
    key = "added_tokens_decoder"
    named, listed = set(_named(read)), read.parsed(SETTINGS[0]).get(key)
    if listed is None:
        name = ADDED
        pairs = [(index, {"content": piece}) for piece, index in read.parsed(ADDED).items()]
    elif isinstance(listed, dict):
        name, pairs = SETTINGS[0], [*listed.items()]
    else:
        raise InputError(f"{read.place / SETTINGS[0]}: {key} is {_shown(listed)}; tokens by ids are expected")
    found: dict[int, Added] = {}
    for index, one in pairs:
        try:
            added = Added(id=index, content=one["content"], special=one.get("special", False))
        except (ValidationError, TypeError, KeyError, AttributeError):
            raise InputError(
                f"{read.place / name}: the added token {_shown(index)} is {_shown(one)}; an id and its "
                "content are expected"
            ) from None
        if added.id in found:
            raise InputError(f"{read.place / name}: two added tokens have the id {added.id}")
        special = added.special or added.content in named or read.is_marker(added.content)
        found[added.id] = added.model_copy(update={"special": special})
    return [found[index] for index in sorted(found)]


def _named(read: Folder) -> list[str]:
    """The pieces that are named as special, without ids."""
    found = [read.said(f"{kind}_token") for kind in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")]
    more = read.settings.get("extra_special_tokens", read.settings.get("additional_special_tokens"))
    if isinstance(more, dict):
        more = list(more.values())
    for one in more if isinstance(more, list) else ():
        found.append(one.get("content") if isinstance(one, dict) else one)
    return [one for one in found if isinstance(one, str) and one]


def by_kind(read: Folder, known: Mapping[str, int], *, ids_too: bool) -> dict[str, int]:
    """Ids of <pad>, <eos> and the like, by the first file that says them; config.json only with `ids_too`."""
    usual = UNSAID.get(str(read.config.get("model_type")), {})
    there, found = set(known.values()), {}
    for kind in KINDS:
        index = known.get(read.said(f"{kind}_token") or "")
        if index is None and ids_too:
            ids = _ids(read, CONFIG, f"{kind}_token_id")
            index = next((one for one in ids or () if one in there), None)
        if index is None:
            index = known.get(usual.get(kind, ""))
        if index is not None:
            found[kind] = index
    return found


def ends(read: Folder, size: int, eos: int | None) -> list[int] | None:
    """The ids that end what the model says: generation_config.json's, or config.json's where there is none.

    None where that is what ends a text anyway, and where nobody says.
    """
    key = "eos_token_id"
    if GENERATION in read.files:
        found = _ids(read, GENERATION, key) or []
    else:
        said = _ids(read, CONFIG, key)
        if said is None:
            return None
        found = said
    found = sorted({one for one in found if one < size})
    return None if found == [eos] else found


def forced(read: Folder, size: int) -> int | None:
    """The id that a decoder's texts are made to begin with."""
    name = GENERATION if GENERATION in read.files else CONFIG
    found = _ids(read, name, "forced_bos_token_id") or []
    return next((one for one in found if one < size), None)


def _ids(read: Folder, name: str, key: str) -> list[int] | None:
    """One id or several; ids below 0 are what some folders have for none."""
    value = read.parsed(name).get(key)
    if value is None:
        return None
    several = value if isinstance(value, list) else [value]
    if any(type(one) is not int for one in several):
        raise InputError(f"{read.place / name}: {key} is {_shown(value)}; the id of a token is expected")
    return [one for one in several if one >= 0]


def _shown(value: Any) -> str:
    return printable(repr(value)[:100])
