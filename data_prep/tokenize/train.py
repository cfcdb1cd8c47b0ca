"""Training the tokenizer on a seeded sample of the training documents.

    sample      <name>.sample.parquet       the texts of a part that were drawn
    tokenizer   <name>.model                the SentencePiece model trained on all of them

Pieces never cross a line end, which is a piece of its own, and white space is kept as it is: decoding gives
back the very text. The sample and the number of threads are fixed, so the model is the same on every machine.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sentencepiece

from data_prep.config import TokenizerConfig
from data_prep.contract.receipt import write_atomic
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import BOS, EOS, PAD, RESERVED, UNK
from data_prep.documents import seeded_order, share_limit, write_table
from data_prep.sources.text import cut

VERSION = 2
SENTENCE_BYTES = 8_192
THREADS = 16  # the trainer's sums depend on how many there are, so it is not the number of cores


def sample(output: Path, kept: Path, share: float, seed: int, column: str = "text") -> dict[str, Any]:
    """Write the texts in a column of about this share of a part's training documents, drawn by their ids."""
    found = []
    for batch in pq.ParquetFile(kept).iter_batches(256, columns=["id", column, "split"]):
        keys = seeded_order(batch["id"].to_numpy(), seed, "tokenizer")
        drawn = (keys <= share_limit(share)) & (batch["split"].to_numpy(zero_copy_only=False) == "train")
        found += [batch[column][row].as_py() for row in np.flatnonzero(drawn)]
    write_table(output.with_suffix(".sample.parquet"), pa.table({"text": pa.array(found, pa.large_string())}))
    return {"documents": len(found), "bytes": sum(len(text.encode()) for text in found)}


def train(output: Path, samples: list[Path], tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Write the model; `InputError` where the text does not support the vocabulary."""
    model = train_model(_texts(samples), TokenizerConfig.model_validate(tokenizer))
    write_atomic(output.with_suffix(".model"), model)
    return {"model_bytes": len(model)}


def _texts(samples: list[Path]) -> Iterator[str]:
    for path in samples:
        for batch in pq.ParquetFile(path).iter_batches(256):
            yield from batch["text"].to_pylist()


def train_model(texts: Iterator[str], config: TokenizerConfig) -> bytes:
    """The serialised SentencePiece model trained on these texts."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sentences(texts),
            model_writer=model,
            model_type=config.kind,
            vocab_size=config.vocabulary_size,
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            pad_piece=PAD,
            unk_piece=UNK,
            bos_piece=BOS,
            eos_piece=EOS,
            control_symbols=list(RESERVED[4:]),
            user_defined_symbols=["\n"],
            byte_fallback=config.byte_fallback,
            character_coverage=config.character_coverage,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            split_digits=True,
            max_sentence_length=8 * SENTENCE_BYTES,
            num_threads=THREADS,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise InputError(_why(str(error), config)) from error
    return model.getvalue()


def sentences(texts: Iterator[str]) -> Iterator[str]:
    """The trainer's units: texts, cut at line ends where long. A tab is its own mark and must not occur."""
    for text in texts:
        rest = text.replace("\t", " ").replace("\0", "")
        while rest:
            piece, rest = cut(rest, SENTENCE_BYTES) if len(rest) > SENTENCE_BYTES else (rest, "")
            yield piece


def _why(message: str, config: TokenizerConfig) -> str:
    """The trainer's complaint as a sentence about the recipe."""
    size = config.vocabulary_size
    if most := re.search(r"value <= (\d+)", message):
        return (
            f"tokenizer.vocabulary_size: {size} is more than this text supports; {most[1]} or less fits, "
            "or take a larger sample (tokenizer.sample_bytes) of a larger corpus"
        )
    if least := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return (
            f"tokenizer.vocabulary_size: {size} is too small for the characters of the text; {least[1]} or "
            "more fits, or lower tokenizer.character_coverage"
        )
    return f"tokenizer: training with vocabulary_size {size} on this text failed ({message})"
