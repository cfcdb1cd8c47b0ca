"""A tokenizer and a dataset small enough for any test, of text that is made here."""

import io
import json
import random
from pathlib import Path

import numpy as np
import sentencepiece

from data_prep.contract.dataset import TOKENIZER, Block, Manifest, ShardWriter, write_manifest
from data_prep.contract.vocabulary import RESERVED, Vocabulary
from pipeline.config import TRAINS, EvaluationConfig, PipelineConfig

WORDS = (
    "adds",
    "returns",
    "reads",
    "the",
    "list",
    "number",
    "file",
    "of",
    "a",
    "path",
    "value",
    "sum",
    "two",
)


def sentences(count: int, seed: int = 0) -> list[str]:
    """Made-up sentences of 4 to 12 words."""
    choose = random.Random(seed)
    return [" ".join(choose.choices(WORDS, k=choose.randint(4, 12))) + "." for _ in range(count)]


def vocabulary(path: Path, size: int = 200, texts: list[str] | None = None) -> Vocabulary:
    """A SentencePiece model with the reserved pieces, trained on texts, or else on made-up sentences."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts or [*sentences(500), "def f(x): {}[]<|>_end \n " * 3]),
        model_writer=model,
        vocab_size=size,
        hard_vocab_limit=False,
        byte_fallback=False,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        pad_piece="<pad>",
        unk_piece="<unk>",
        bos_piece="<bos>",
        eos_piece="<eos>",
        control_symbols=list(RESERVED[4:]),
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
    return Vocabulary(path)


def dataset(
    folder: Path,
    documents: dict[str, list[str]],
    instructions: bool = False,
    tokenizer: Vocabulary | None = None,
) -> Manifest:
    """A dataset of the given texts by split, one shard each, and instruction pairs where wanted."""
    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer:
        (folder / TOKENIZER).write_bytes(tokenizer.content)
    tokenizer = tokenizer or vocabulary(folder / TOKENIZER)
    splits = {}
    for split, texts in documents.items():
        tokens = [np.array(ids, dtype=np.uint16) for ids in tokenizer.encode_batch(texts)]
        lengths = np.array([len(one) for one in tokens], dtype=np.int32)
        block = Block(
            np.concatenate([np.zeros(0, np.uint16), *tokens]),
            lengths,
            np.arange(len(tokens), dtype=np.uint64),
        )
        size = sum(len(text.encode()) for text in texts)
        splits[split] = [ShardWriter(folder, split, tokenizer.size).write(0, [block], size)]
        if instructions:
            write_pairs(folder / "instructions" / f"{split}.jsonl", len(texts), seed=len(split))
    return write_manifest(folder, splits)


def write_pairs(path: Path, count: int, seed: int = 0) -> None:
    """Instruction rows: a function's name asks for the sentence about it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (
        {"id": str(n), "instruction": "Say what the function does.", "input": f"def f{n}(x)", "output": text}
        for n, text in enumerate(sentences(count, seed + 100))
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def config(**sections: dict[str, object]) -> PipelineConfig:
    """A pipeline configuration with some sections given as dictionaries and a model for its objective."""
    return PipelineConfig.model_validate(_filled(sections))


def evaluation(**sections: dict[str, object]) -> EvaluationConfig:
    """The same for an evaluation."""
    return EvaluationConfig.model_validate(_filled(sections))


def _filled(sections: dict[str, dict[str, object]]) -> dict[str, object]:
    kind = sections.get("objective", {}).get("kind", "causal_lm")
    architecture = next((name for name, kinds in TRAINS.items() if kind in kinds), "decoder")
    sections["model"] = {"architecture": architecture} | sections.get("model", {})
    return {"name": "tiny", **sections}
