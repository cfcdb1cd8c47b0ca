"""The unigram model as a language model: the baseline of every task that asks for likelihoods."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import Dataset
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.evaluation.perplexity import token_counts, unigram_logs
from pipeline.generation.model import Prompts, Session


@dataclass(frozen=True)
class UnigramModel:
    """Finds every token as likely as it is frequent in the train split, whatever stands before it."""

    config: PipelineConfig
    vocabulary: Vocabulary
    logs: NDArray[np.float64]
    """[V] natural logs of probabilities."""

    def logits(self, tokens_BS: Any, /, **others: Any) -> Any:
        """The same logits [B, S, V] everywhere."""
        import torch

        del others
        return torch.from_numpy(self.logs).float().expand(*tokens_BS.shape, len(self.logs))

    def session(self, sources: Prompts | None = None, /) -> Session:
        """It has nothing to say."""
        raise NotImplementedError("the unigram model is asked for likelihoods alone")


def unigram_model(config: PipelineConfig, dataset: Dataset) -> UnigramModel:
    """The unigram model of a dataset's train split, with one added to every count."""
    return UnigramModel(config, dataset.vocabulary, unigram_logs(token_counts(dataset)))
