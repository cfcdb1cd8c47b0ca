"""The reserved tokens of every Bloomery tokenizer, and tokenizers of both kinds behind one interface.

Reserved pieces are SentencePiece *control* symbols: text can never be encoded into them, so a document that
contains the letters `<eos>` cannot forge one. The same holds for the special tokens of published tokenizers,
which go by these names for what they do: BERT's `[MASK]` is `<mask>`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from data_prep.contract.pieces import HuggingFace, Pieces, Placed, SentencePieces
from data_prep.contract.published import ARCHIVE, CONFIG, LIMIT, TOKENIZER_JSON, Roles, pack, unpack
from data_prep.contract.reading import printable, read_bytes
from data_prep.contract.roles import KINDS, Folder
from data_prep.contract.settings import InputError

PAD, UNK, BOS, EOS, CLS, SEP, MASK = "<pad>", "<unk>", "<bos>", "<eos>", "<cls>", "<sep>", "<mask>"
SYSTEM, USER, ASSISTANT, END = "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SENTINELS = tuple(f"<extra_id_{i}>" for i in range(100))

RESERVED = (PAD, UNK, BOS, EOS, CLS, SEP, MASK, SYSTEM, USER, ASSISTANT, END, *reversed(SENTINELS))
"""Every reserved piece in the order of its id. Sentinel 0 has the highest id of the sentinels, as in T5."""


class Vocabulary:
    """A tokenizer: a SentencePiece model of ours with the reserved pieces, or a published one of either kind.

    `path` is a dataset's or run's `tokenizer.model`, or its folder; any SentencePiece model; a Hugging Face
    folder, or its tokenizer.json. Raises `InputError` where it is none of these, or has no end of a document.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = read(path)
        """What the file `tokenizer.model` of a dataset or run with this tokenizer holds."""
        self.files: dict[str, bytes] = {}
        """Of a published tokenizer: the files that it came in."""
        roles = Roles(reads="")
        if self.content.startswith(ARCHIVE):
            roles, self.files = unpack(path, self.content)
        self._pieces = self._open(roles)
        given = [*roles.names.values(), *(roles.before or ()), *roles.after]
        if not all(0 <= index < self.size for index in given):
            raise InputError(f"{path}: its special tokens have ids that are none of its {self.size:,} pieces")
        self.frame = None if roles.before is None else (roles.before, roles.after)
        """Ids that a published tokenizer puts before and behind a text; None leaves it to the objective."""
        # Tokenizers from elsewhere may lack some: BERT's texts end with <sep>, padding is masked.
        eos = self._first(EOS, SEP)
        if eos is None:
            raise InputError(f"{path}: the tokenizer has no {EOS}, the end of a document")
        self.eos, self.unk = eos, self._first(UNK)
        pad, bos = self._first(PAD), self._first(BOS, CLS)
        self.pad, self.bos = (eos if index is None else index for index in (pad, bos))
        usual = [index for index in (eos, self._pieces.find(END)) if index is not None]
        self.ends = frozenset(usual if roles.ends is None else roles.ends)
        """Ids that end what a model says."""
        self.forced = roles.forced
        """The id that a published decoder's texts begin with, behind its start token; None for most."""

    def _open(self, roles: Roles) -> Pieces:
        if roles.reads == TOKENIZER_JSON:
            return HuggingFace(self.path, self.files[TOKENIZER_JSON], roles.names, roles.added)
        content = self.files.get(roles.reads, self.content)
        return SentencePieces(self.path, content, roles.names, roles.added)

    def _first(self, *names: str) -> int | None:
        return next((found for name in names if (found := self._pieces.find(name)) is not None), None)

    @property
    def size(self) -> int:
        """Number of pieces, the reserved ones included."""
        return self._pieces.size

    @cached_property
    def sha256(self) -> str:
        """Hash of the file's content: equal hashes mean equal token ids and equal roles."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def reserved(self) -> frozenset[int]:
        """Ids that no text is encoded into, and `<unk>`."""
        return self._pieces.special

    @cached_property
    def chat_template(self) -> str | None:
        """The chat template, in Jinja, that a published tokenizer brings; None where it has none."""
        return Folder(self.path, self.files).chat_template

    @cached_property
    def special_tokens(self) -> dict[str, str]:
        """Special tokens by the names that a published chat template has for them, as in `bos_token`."""
        read, found = Folder(self.path, self.files), {}
        for kind in KINDS:
            name = f"{kind}_token"
            index = self._pieces.find(f"<{kind}>")
            usual = None if name in read.settings or index is None else self._pieces.piece_of(index)
            if piece := read.said(name) or usual:
                found[name] = piece
        return found

    @cached_property
    def sentinels(self) -> tuple[int, ...]:
        """Ids of the sentinels, the first sentinel first; none where the tokenizer has none."""
        return tuple(self.id_of(piece) for piece in SENTINELS if self.has(piece))

    @property
    def start(self) -> int:
        """What a text begins with: what the tokenizer puts before it, else the end of another."""
        return self.frame[0][0] if self.frame and self.frame[0] else self.eos

    def id_of(self, piece: str) -> int:
        """Id of a reserved piece; `InputError` where the tokenizer has none of this name."""
        found = self._pieces.find(piece)
        if found is None:
            raise InputError(f"{self.path}: the tokenizer has no {piece}; train it with `bloomery prep`")
        return found

    def has(self, piece: str) -> bool:
        """Whether there is a reserved piece of this name."""
        return self._pieces.find(piece) is not None

    def piece_of(self, index: int) -> str:
        """The piece with this id, with SentencePiece's sign for spaces; nothing where there is none."""
        return self._pieces.piece_of(index)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without any reserved token."""
        return self._pieces.encode(text)

    def encode_inside(self, text: str) -> list[int]:
        """Token ids of a text that something stands before: what is put before others is not added."""
        return self._pieces.encode_inside(text)

    def encode_behind(self, text: str, special: int) -> list[int]:
        """Token ids of a text directly behind a special token, as transformers cuts the two together."""
        return self._pieces.encode_behind(text, special)

    def encode_placed(self, text: str) -> list[Placed]:
        """The tokens of a text, each with the characters that it stands for.

        `InputError` where the tokens of the text cannot be placed: it spells one of a published tokenizer's
        special or added tokens.
        """
        placed = self._pieces.encode_placed(text)
        if [one.id for one in placed] != self.encode(text):
            raise InputError(
                f"{printable(text)[:80]!r}: a text that spells a special or added token of {self.path}, "
                "whose place cannot be told; leave it out"
            )
        return placed

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """Token ids of several texts."""
        return [self.encode(text) for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids; reserved tokens leave nothing behind."""
        return self._pieces.decode(tokens)


def read(path: Path) -> bytes:
    """The content of `tokenizer.model` for whatever a path names as a tokenizer."""
    if path.is_dir():
        own = path / "tokenizer.model"
        if own.is_file() and not (path / CONFIG).is_file():
            return read_bytes(own, limit=LIMIT)
        return pack(path, RESERVED)
    if not path.is_file():
        raise InputError(f"{path}: no such file; a tokenizer is expected here")
    return pack(path.parent, RESERVED) if path.name == TOKENIZER_JSON else read_bytes(path, limit=LIMIT)
