"""The reserved tokens of every Bloomery tokenizer, and a thin wrapper around its SentencePiece model.

Reserved pieces are SentencePiece *control* symbols: text can never be encoded into them, so a document that
contains the letters `<eos>` cannot forge one.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import sentencepiece

from data_prep.contract.receipt import file_hash
from data_prep.contract.settings import InputError

PAD, UNK, BOS, EOS, CLS, SEP, MASK = "<pad>", "<unk>", "<bos>", "<eos>", "<cls>", "<sep>", "<mask>"
SYSTEM, USER, ASSISTANT, END = "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SENTINELS = tuple(f"<extra_id_{i}>" for i in range(100))

RESERVED = (PAD, UNK, BOS, EOS, CLS, SEP, MASK, SYSTEM, USER, ASSISTANT, END, *reversed(SENTINELS))
"""Every reserved piece in the order of its id. Sentinel 0 has the highest id of the sentinels, as in T5."""


SPACE = "\u2581"
"""What stands for a space in SentencePiece's pieces; it puts one before every text."""


class Vocabulary:
    """A trained SentencePiece model: ours with the reserved pieces, or one that came with an imported model.

    Raises `InputError` where the file is no SentencePiece model or has no end of a document.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._processor = sentencepiece.SentencePieceProcessor()
        if not path.is_file():
            raise InputError(f"{path}: no such file; a SentencePiece .model is expected here")
        try:
            self._processor.LoadFromFile(str(path))
        except (RuntimeError, OSError) as error:
            raise InputError(f"{path}: not a SentencePiece model ({error})") from error
        self.unk, self.eos = self._processor.unk_id(), self._processor.eos_id()
        if self.eos < 0:
            raise InputError(f"{path}: the tokenizer has no {EOS}, the end of a document")
        # Models from elsewhere may lack these two: padding is masked, and a text may start behind an end.
        pad, bos = self._processor.pad_id(), self._processor.bos_id()
        self.pad, self.bos = (index if index >= 0 else self.eos for index in (pad, bos))

    @property
    def size(self) -> int:
        """Number of pieces, the reserved ones included."""
        return self._processor.GetPieceSize()

    @cached_property
    def sha256(self) -> str:
        """Hash of the model file: equal hashes mean equal token ids."""
        return file_hash(self.path)

    @cached_property
    def sentinels(self) -> tuple[int, ...]:
        """Ids of the sentinels, the first sentinel first."""
        return tuple(self.id_of(piece) for piece in SENTINELS)

    def id_of(self, piece: str) -> int:
        """Id of a reserved piece; `InputError` where the model has none of this name."""
        if not self.has(piece):
            raise InputError(f"{self.path}: the tokenizer has no {piece}; train it with `bloomery prep`")
        return int(self._processor.PieceToId(piece))

    def has(self, piece: str) -> bool:
        """Whether there is a piece of this name."""
        return bool(self._processor.IdToPiece(self._processor.PieceToId(piece)) == piece)

    def piece_of(self, index: int) -> str:
        """The piece with this id."""
        return self._processor.IdToPiece(index)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without any reserved token."""
        return self._processor.EncodeAsIds(text)

    def encode_inside(self, text: str) -> list[int]:
        """Token ids of a text that goes on in the middle of a word: without the space put before others."""
        ids = self.encode(text)
        first = self.piece_of(ids[0]) if ids else ""
        if not first.startswith(SPACE):
            return ids
        rest = first.removeprefix(SPACE)
        known = self._processor.PieceToId(rest) != self.unk
        return [*map(self._processor.PieceToId, [rest] if known else rest), *ids[1:]]

    def encode_batch(self, texts: Iterable[str], threads: int = 1) -> list[list[int]]:
        """Token ids of several texts."""
        return self._processor.Encode(list(texts), num_threads=threads)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids; reserved tokens leave nothing behind."""
        return self._processor.DecodeIds([int(token) for token in tokens])
