"""The families that can be exported and imported, each by its tables."""

from pipeline.conversion.families.decoders import BLOOM, FALCON, GPT2, LLAMA, OPT
from pipeline.conversion.families.encoders import ALBERT, BERT, DISTILBERT, ELECTRA, ROBERTA
from pipeline.conversion.families.experts import MIXTRAL, OLMOE, QWEN3_MOE
from pipeline.conversion.families.gemma import GEMMA2, GEMMA3
from pipeline.conversion.families.llama_kin import MISTRAL, OLMO2, QWEN2, QWEN3, SMOLLM3
from pipeline.conversion.families.modernbert import MODERNBERT
from pipeline.conversion.families.neox import NEOX
from pipeline.conversion.families.pairs import BART, MARIAN, SWITCH, T5

FAMILIES = (
    *(GPT2, OPT, BLOOM, FALCON, NEOX),
    *(LLAMA, MISTRAL, QWEN2, QWEN3, OLMO2, SMOLLM3, GEMMA2, GEMMA3),
    *(MIXTRAL, OLMOE, QWEN3_MOE),
    *(DISTILBERT, ROBERTA, BERT, ALBERT, ELECTRA, MODERNBERT),
    *(T5, SWITCH, BART, MARIAN),
)
