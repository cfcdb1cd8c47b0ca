"""ELECTRA's generator: a narrower encoder that shares the embeddings of the model beside it."""

from pipeline.config.model import ModelConfig
from pipeline.config.objective import ObjectiveConfig

NEEDS = {
    "shared_layers": False,
    "tied_output": True,
    "key_value_heads": None,
    "head_size": None,
    "experts": None,
}


def generator_of(model: ModelConfig, objective: ObjectiveConfig) -> ModelConfig:
    """The generator of a discriminator (Clark et al. 2020, section 3.3): as deep, and a share as wide.

    Its heads are about as wide as the discriminator's, one at least. ValueError where no such model is there.
    """
    share = objective.generator_share
    hidden, heads = round(model.hidden_size * share), max(1, round(model.heads * share))
    if not hidden or hidden % heads:
        raise ValueError(
            f"objective.generator_share {share:g} of model.hidden_size {model.hidden_size} and model.heads "
            f"{model.heads} is a generator of width {hidden} with {heads} heads, which does not divide it"
        )
    for name, wanted in NEEDS.items():
        if getattr(model, name) != wanted:
            raise ValueError(f"objective.kind replaced_tokens needs model.{name} {wanted}, as ELECTRA has it")
    width = model.embedding_width
    narrow = {"word_size": width, "word_size_of": "embeddings"}
    same = {"word_size": None, "word_size_of": "words"}
    inner = max(1, round(model.mlp_size * share))
    values = model.model_dump(exclude={"preset"})
    values |= {"hidden_size": hidden, "heads": heads, "feed_forward_size": inner}
    return ModelConfig(**values | (same if width == hidden else narrow))
