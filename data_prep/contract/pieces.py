"""The two kinds of tokenizers behind a `Vocabulary`: SentencePiece models and Hugging Face tokenizer.json.

Neither finds a special token in a text: SentencePiece's are control symbols, and a text in which the library
tokenizers does find one, since it is an ordinary piece to a unigram model, is cut inside it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import sentencepiece

from data_prep.contract.library import library_errors, open_tokenizer
from data_prep.contract.reading import read_json
from data_prep.contract.roles import KINDS, MOST_PIECES, Added
from data_prep.contract.settings import InputError

SPACE = "\u2581"
"""What stands for a space in SentencePiece's pieces; it puts one before every text."""
ROLE_NAMES = frozenset(f"<{kind}>" for kind in KINDS)
UNREADABLE = "\N{REPLACEMENT CHARACTER}"
"""In a piece: bytes that are a part of a character."""


class Placed(NamedTuple):
    """A token and the characters of the text that it stands for; a piece of a normalised one may share it."""

    id: int
    start: int
    end: int


class Pieces(Protocol):
    """What a `Vocabulary` asks of a tokenizer; its methods of the same names say more."""

    size: int

    @property
    def special(self) -> frozenset[int]:
        """Ids that no text is encoded into, `<unk>` and ids without a piece among them."""
        ...

    def find(self, name: str) -> int | None:
        """Id of a special token; None where there is none of this name."""
        ...

    def piece_of(self, index: int) -> str: ...
    def encode(self, text: str) -> list[int]: ...
    def encode_inside(self, text: str) -> list[int]: ...
    def encode_behind(self, text: str, special: int) -> list[int]: ...
    def encode_placed(self, text: str) -> list[Placed]: ...
    def decode(self, tokens: Sequence[int]) -> str: ...


class SentencePieces:
    """A SentencePiece model, and tokens that other files add behind its pieces.

    `names` are ids of special tokens by name where they are others than the model's own. `InputError` where
    the content is none.
    """

    def __init__(
        self, path: Path, content: bytes, names: Mapping[str, int] = {}, added: Sequence[Added] = ()
    ) -> None:
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(content)
        except (RuntimeError, OSError) as error:
            raise InputError(f"{path}: not a SentencePiece model ({error})") from error
        self._own: int = self._processor.GetPieceSize()
        self.size = self._own + len(added)
        self._added = {one.id: one for one in added}
        texts = sorted((one.content for one in added if not one.special), key=len, reverse=True)
        self._found = re.compile(f"({'|'.join(map(re.escape, texts))})") if texts else None
        self._ids = {one.content: one.id for one in added}
        model = self._processor
        ids = {
            "<pad>": model.pad_id(),
            "<unk>": model.unk_id(),
            "<bos>": model.bos_id(),
            "<eos>": model.eos_id(),
        }
        self._roles = {name: index for name, index in ids.items() if index >= 0} | dict(names)

    @cached_property
    def special(self) -> frozenset[int]:
        model = self._processor
        own = (i for i in range(self._own) if model.IsControl(i) or model.IsUnknown(i))
        return frozenset({*own, *(i for i, one in self._added.items() if one.special)})

    def find(self, name: str) -> int | None:
        if name in self._roles:
            return self._roles[name]
        index = self._processor.PieceToId(name)
        return int(index) if self._processor.IdToPiece(index) == name else None

    def piece_of(self, index: int) -> str:
        return self._added[index].content if index in self._added else self._processor.IdToPiece(index)

    def encode(self, text: str) -> list[int]:
        return self._apart(text, inside=False) if self._found else self._processor.EncodeAsIds(text)

    def encode_inside(self, text: str) -> list[int]:
        return self._apart(text, inside=True) if self._found else self._within(text)

    def encode_behind(self, text: str, special: int) -> list[int]:
        return self.encode_inside(text)

    def encode_placed(self, text: str) -> list[Placed]:
        from sentencepiece import sentencepiece_pb2

        found = sentencepiece_pb2.SentencePieceText()
        written: Any = self._processor.encode(text, out_type="serialized_proto")
        found.ParseFromString(written)
        # Places are of bytes: of "né" the last byte, 2, lies in character 1.
        characters = [index for index, one in enumerate(text) for _ in one.encode()] + [len(text)]
        return [Placed(one.id, characters[one.begin], characters[one.end]) for one in found.pieces]

    def _apart(self, text: str, inside: bool) -> list[int]:
        """Ids of a text that is cut at the added tokens that are found in texts."""
        assert self._found is not None
        ids: list[int] = []
        for place, part in enumerate(self._found.split(text)):
            if place % 2:
                ids.append(self._ids[part])
            elif part:
                ids += self._within(part) if inside or place else self._processor.EncodeAsIds(part)
        return ids

    def _within(self, text: str) -> list[int]:
        if text.startswith(" "):
            return self._processor.EncodeAsIds(text[1:])
        ids = self._processor.EncodeAsIds(text)
        first = self.piece_of(ids[0]) if ids else ""
        if not first.startswith(SPACE):
            return ids
        rest = first.removeprefix(SPACE)
        known = self._processor.PieceToId(rest) != self._processor.unk_id()
        return [*map(self._processor.PieceToId, [rest] if known else rest), *ids[1:]]

    def decode(self, tokens: Sequence[int]) -> str:
        ids = [int(token) for token in tokens]
        if not self._added:
            return self._processor.DecodeIds(ids)
        whole, run = "", list[int]()
        for token in [*ids, None]:
            if token is not None and token < self._own:
                run.append(token)
                continue
            whole += self._decoded(run, first=not whole)
            run = []
            if token is not None and not self._added[token].special:
                whole += self._added[token].content
        return whole

    def _decoded(self, run: list[int], first: bool) -> str:
        """The text of pieces; the space that is put before every text is none behind an added token."""
        text = self._processor.DecodeIds(run)
        starts = bool(run) and self.piece_of(run[0]).startswith(SPACE)
        return text if first or not starts else f" {text}"


class HuggingFace:
    """A tokenizer.json. `names` are the special tokens' ids; `InputError` where it cannot be read or used."""

    def __init__(
        self, path: Path, content: bytes, names: Mapping[str, int], added: Sequence[Added] = ()
    ) -> None:
        parsed = read_json(content, path)
        self._tokenizer = open_tokenizer(path, parsed, added)
        self._path, self._names = path, names
        self._pieces: dict[int, str] = {i: piece for piece, i in self._tokenizer.get_vocab().items()}
        self.size = max(self._pieces, default=-1) + 1
        if not 0 < self.size <= MOST_PIECES:
            raise InputError(f"{path}: {self.size:,} pieces; 1 to {MOST_PIECES:,} are read")
        self._words = parsed["model"]["type"] == "WordPiece"
        self._bytes = _byte_alphabet() if "ByteLevel" in json.dumps(parsed.get("decoder")) else {}
        self._space = {value: sign for sign, value in self._bytes.items()}.get(ord(" "), SPACE)
        first = self._plain("a")[:1]
        self._puts_space = bool(first) and self._pieces[first[0]].startswith(self._space)

    @cached_property
    def special(self) -> frozenset[int]:
        added = self._tokenizer.get_added_tokens_decoder().items()
        holes = set(range(self.size)) - self._pieces.keys()
        return frozenset({index for index, one in added if one.special} | {*self._names.values()} | holes)

    @cached_property
    def _forged(self) -> frozenset[int]:
        """What an encoded text must not have in it: `<unk>` may be, unless it is something else too.

        In GPT-2 and OPT it is the end of a text.
        """
        others = {index for name, index in self._names.items() if name in ROLE_NAMES and name != "<unk>"}
        return self.special - ({self._names.get("<unk>", -1)} - others)

    def find(self, name: str) -> int | None:
        return self._names.get(name)

    def piece_of(self, index: int) -> str:
        """As SentencePiece would write it: a space is its sign, a word of WordPiece starts with one."""
        piece = self._pieces.get(index, "")
        if index in self.special:
            return piece
        if self._words:
            return SPACE + piece if piece[:1].isalnum() else piece.removeprefix("##")
        if self._bytes:
            plain = bytes(self._bytes[sign] for sign in piece if sign in self._bytes)
            return plain.decode(errors="replace").replace(" ", SPACE)
        return piece

    def encode(self, text: str) -> list[int]:
        return self._unforged(text, inside=False)

    def encode_inside(self, text: str) -> list[int]:
        return self._unforged(text, inside=True)

    def encode_behind(self, text: str, special: int) -> list[int]:
        """As the library cuts a text there, unless it finds more special tokens than the one before it."""
        with library_errors(self._path):
            ids: list[int] = self._finding.encode(self._pieces[special] + text, add_special_tokens=False).ids
        found = ids[:1] == [special] and self._forged.isdisjoint(ids[1:])
        return ids[1:] if found else self._unforged(text, inside=True)

    def encode_placed(self, text: str) -> list[Placed]:
        with library_errors(self._path):
            found = self._tokenizer.encode(text, add_special_tokens=False)
        return [Placed(i, start, end) for i, (start, end) in zip(found.ids, found.offsets, strict=True)]

    @cached_property
    def _finding(self) -> Any:
        """The same tokenizer, which finds special tokens in a text."""
        with library_errors(self._path):
            tokenizer = type(self._tokenizer).from_str(self._tokenizer.to_str())
            tokenizer.encode_special_tokens = False
        return tokenizer

    def _unforged(self, text: str, inside: bool) -> list[int]:
        """Ids of a text; where the library finds a special token in it, the text is cut inside that.

        A special token of one character is one that a text cannot have at all.
        """
        found: list[int] = []
        left = [(text, inside)]
        while left:
            part, inside = left.pop()
            ids = self._inside(part) if inside else self._plain(part)
            if self._forged.isdisjoint(ids):
                found += ids
                continue
            with library_errors(self._path):
                whole = self._tokenizer.encode(part, add_special_tokens=False)
            spans = [span for i, span in zip(whole.ids, whole.offsets, strict=True) if i in self._forged]
            starts = [0, *(end if end - start < 2 else start + 1 for start, end in spans)]
            ends = [*(start if end - start < 2 else start + 1 for start, end in spans), len(part)]
            parts = [part[start:end] for start, end in zip(starts, ends, strict=True)]
            left += [(one, inside or place > 0) for place, one in enumerate(parts)][::-1]
        return found

    def _plain(self, text: str) -> list[int]:
        with library_errors(self._path):
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _inside(self, text: str) -> list[int]:
        """The same without the space that is put before a text."""
        if not self._puts_space:
            return self._plain(text)
        if text.startswith(" "):
            return self._plain(text[1:])
        ids = self._plain(text)
        first = self._pieces[ids[0]] if ids else ""
        if not first.startswith(self._space):
            return ids
        rest = first.removeprefix(self._space)
        parts = [self._tokenizer.token_to_id(one) for one in ([rest] if self._known(rest) else rest)]
        unknown = self._names.get("<unk>")
        return [*(i for part in parts if (i := unknown if part is None else part) is not None), *ids[1:]]

    def _known(self, piece: str) -> bool:
        index = self._tokenizer.token_to_id(piece)
        return index is not None and index not in self._forged

    def decode(self, tokens: Sequence[int]) -> str:
        text = [index for token in tokens if (index := int(token)) not in self.special]
        with library_errors(self._path):
            decoded: str = self._tokenizer.decode(text, skip_special_tokens=False)
        return decoded


def _byte_alphabet() -> dict[str, int]:
    """The signs of bytes in a byte-level BPE, as GPT-2 has them: printable ones stand for themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [value for value in range(256) if value not in printable]
    return {chr(value): value for value in printable} | {chr(256 + i): one for i, one in enumerate(others)}
