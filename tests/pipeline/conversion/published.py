"""Hugging Face folders with the layout and the tokenizers of the published ones, and random weights.

The tokenizers are trained here, on made-up text, and saved by transformers.
"""

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tests.pipeline import tiny

LONGEST = 64
TEXT = [*tiny.sentences(200), "Naïve 日本, 12 or 345?  def f(x):\n    return x\n"] * 2


@cache
def bytes_bpe(special: tuple[str, ...], kind: str = "gpt2") -> Tokenizer:
    """A byte-level BPE, of words as GPT-2, BLOOM or Falcon cut them."""
    tokenizer = Tokenizer(models.BPE())
    parts: Any = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if kind == "bloom":
        words = pre_tokenizers.Split(Regex(r" ?[^(\s|[.,!?])]+"), "isolated")
        parts = pre_tokenizers.Sequence(
            [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
    if kind == "falcon":
        digits = [pre_tokenizers.Digits(), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")]
        parts = pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), parts, *digits])
    tokenizer.pre_tokenizer, tokenizer.decoder = parts, decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def parts_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """What transformers' classes of byte-level BPE are made from."""
    model = json.loads(tokenizer.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}


@cache
def wordpiece() -> dict[str, int]:
    """The vocabulary of a BERT."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        TEXT, trainers.WordPieceTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    )
    return dict(tokenizer.get_vocab())


@cache
def sentence_model(kind: str, **more: Any) -> bytes:
    """A SentencePiece model."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_writer=model,
        model_type=kind,
        vocab_size=120 if kind == "unigram" else 400,
        hard_vocab_limit=False,
        minloglevel=2,
        **more,
    )
    return model.getvalue()


def gpt2(folder: Path) -> None:
    transformers.GPT2Tokenizer(**parts_of(bytes_bpe(("<|endoftext|>",)))).save_pretrained(folder)
    ids = {"bos_token_id": 0, "eos_token_id": 0}
    save(folder, "GPT2LMHeadModel", "GPT2Config", n_embd=32, n_layer=2, n_head=4, n_positions=LONGEST, **ids)


def opt(folder: Path) -> None:
    end = "</s>"
    transformers.GPT2Tokenizer(
        **parts_of(bytes_bpe(("<s>", "<pad>", end, "<unk>"))),
        bos_token=end,
        eos_token=end,
        unk_token=end,
        pad_token="<pad>",
        add_bos_token=True,
    ).save_pretrained(folder)
    ids = {"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "word_embed_proj_dim": 32}
    save(folder, "OPTForCausalLM", "OPTConfig", ffn_dim=48, **SMALL, **ids)


def bloom(folder: Path) -> None:
    tokenizer = bytes_bpe(("<unk>", "<s>", "</s>", "<pad>"), kind="bloom")
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    save(folder, "BloomForCausalLM", "BloomConfig", hidden_size=32, n_layer=2, n_head=4, **ids)


def falcon(folder: Path) -> None:
    """Its tokenizer splits off punctuation and digits before the bytes."""
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytes_bpe((">>TITLE<<", "<|endoftext|>"), "falcon"), eos_token="<|endoftext|>"
    ).save_pretrained(folder)
    ids = {"bos_token_id": 1, "eos_token_id": 1, "num_kv_heads": 2, "new_decoder_architecture": True}
    save(folder, "FalconForCausalLM", "FalconConfig", **SMALL, **ids)


def bert(folder: Path) -> None:
    transformers.BertTokenizer(vocab=wordpiece()).save_pretrained(folder)
    save(folder, "BertForPreTraining", "BertConfig", intermediate_size=48, **SMALL)


def roberta(folder: Path) -> None:
    transformers.RobertaTokenizer(**parts_of(bytes_bpe(ROBERTA)), mask_token=MASK).save_pretrained(folder)
    ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "type_vocab_size": 1}
    longer = SMALL | {"max_position_embeddings": LONGEST + 2}
    save(folder, "RobertaForMaskedLM", "RobertaConfig", intermediate_size=48, **longer, **ids)


def bart(folder: Path) -> None:
    transformers.BartTokenizer(**parts_of(bytes_bpe(ROBERTA)), mask_token=MASK).save_pretrained(folder)
    sizes = {f"{stack}_{name}": value for stack in ("encoder", "decoder") for name, value in BART.items()}
    ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "decoder_start_token_id": 2}
    places = {"d_model": 32, "max_position_embeddings": LONGEST}
    save(folder, "BartForConditionalGeneration", "BartConfig", **sizes, **ids, **places)


def t5(folder: Path) -> None:
    """As published: spiece.model lacks the sentinels, <extra_id_0> has the highest id."""
    model = sentence_model("unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    read = sentencepiece.SentencePieceProcessor()
    read.LoadFromSerializedProto(model)
    pieces = [(read.IdToPiece(index), read.GetScore(index)) for index in range(read.GetPieceSize())]
    pieces += [(f"<extra_id_{number}>", 0.0) for number in reversed(range(100))]
    transformers.T5Tokenizer(vocab=pieces).save_pretrained(folder)
    (folder / "spiece.model").write_bytes(model)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "n_positions": LONGEST}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    save(folder, "T5ForConditionalGeneration", "T5Config", **sizes, **ids)


def llama(folder: Path, **sentences: Any) -> None:
    """With both tokenizers and texts that begin with <s>.

    Their ids are the same where a text has no characters or spaces for SentencePiece to make others of; with
    the published models' own `sentences` settings everywhere.
    """
    folder.mkdir(parents=True)
    model = sentence_model("bpe", **sentences)
    (folder / "tokenizer.model").write_bytes(model)
    rows = sentencepiece.SentencePieceProcessor(model_proto=model).GetPieceSize()
    said = {
        "tokenizer_class": "LlamaTokenizer",
        "add_bos_token": True,
        "add_eos_token": False,
        "legacy": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    ids = {"bos_token_id": 1, "eos_token_id": 2, "num_key_value_heads": 2}
    save(folder, "LlamaForCausalLM", "LlamaConfig", intermediate_size=48, **SMALL, **ids, rows=rows)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)


ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
MASK = transformers.AddedToken("<mask>", lstrip=True, special=True)
"""As published: a space before it belongs to it."""
BART = {"layers": 2, "attention_heads": 4, "ffn_dim": 48}
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": LONGEST,
}
FOLDERS: dict[str, Callable[[Path], None]] = {
    one.__name__: one for one in (gpt2, opt, bloom, falcon, llama, bert, roberta, t5, bart)
}


def save(folder: Path, class_name: str, config_name: str, rows: int = 0, **values: Any) -> None:
    """Random weights, large enough for every part to matter, and some more rows than there are tokens."""
    tokens = rows or len(transformers.AutoTokenizer.from_pretrained(folder))
    rows = rows or tokens + 7
    torch.manual_seed(5)
    config = getattr(transformers, config_name)(vocab_size=rows, **values)
    model = getattr(transformers, class_name)(config)
    with torch.no_grad():
        for weight in model.parameters():  # norms and biases too, so that none can stand for another
            weight.add_(torch.randn_like(weight), alpha=0.3 if weight.dim() > 1 else 0.2)
        for table in (model.get_input_embeddings(), model.get_output_embeddings()):
            table.weight[tokens:] = 0.0  # as good as untrained: transformers would say them else
            if "Llama" in class_name:
                table.weight[0] = 0.0  # <unk>, for which SentencePiece writes a sign and transformers nothing
    model.save_pretrained(folder)


def build(name: str, folder: Path) -> Path:
    """The folder of one kind of model."""
    FOLDERS[name](folder)
    return folder
