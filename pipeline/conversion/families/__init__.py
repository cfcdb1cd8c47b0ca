"""The families that can be exported and imported, each by its tables."""

from pipeline.conversion.families.decoders import BLOOM, FALCON, GPT2, LLAMA, OPT
from pipeline.conversion.families.encoders import BERT, ROBERTA
from pipeline.conversion.families.pairs import BART, T5

FAMILIES = (GPT2, OPT, BLOOM, FALCON, LLAMA, ROBERTA, BERT, T5, BART)
