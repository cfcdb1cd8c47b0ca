"""Generation without a cache: every step reads whole rows, padded on the right. The slow, plain reference."""

from typing import Any

import torch
from torch import Tensor

from pipeline.generation.load import LoadedModel
from pipeline.generation.model import Prompts


class WithoutCache:
    """A loaded model whose every step reads whole rows."""

    def __init__(self, model: LoadedModel) -> None:
        self.config, self.vocabulary, self.module = model.config, model.vocabulary, model.module

    @torch.inference_mode()
    def logits(self, tokens: Tensor, **others: Tensor) -> Tensor:
        return self.module({"tokens": tokens, **others})["logits"].transpose(0, 1)

    def session(self, sources: Prompts | None = None) -> "Uncached":
        return Uncached(self, sources)


class Uncached:
    """A session of any model that gives logits."""

    def __init__(self, model: Any, sources: Prompts | None = None) -> None:
        self.model, self.rows = model, [[0]]
        self.others: dict[str, Tensor] = {}
        if sources is not None:
            width = max(map(len, sources))
            padded = [[*source, *[0] * (width - len(source))] for source in sources]
            real = [[1] * len(source) + [0] * (width - len(source)) for source in sources]
            self.others = {"encoder_tokens": torch.tensor(padded), "encoder_segments": torch.tensor(real)}

    @property
    def full(self) -> bool:
        return max(map(len, self.rows)) == self.model.config.data.sequence_length

    def start(self, rows: Prompts, room: int) -> Tensor:
        self.rows = [list(row) for row in rows]
        return self._logits()

    def step(self, tokens: Tensor) -> Tensor:
        for row, token in zip(self.rows, tokens.tolist(), strict=True):
            row.append(token)
        return self._logits()

    def select(self, rows: Tensor) -> None:
        self.rows = [list(self.rows[row]) for row in rows.tolist()]
        self.others = {name: one[rows] for name, one in self.others.items()}

    reorder = select

    def _logits(self) -> Tensor:
        width = max(map(len, self.rows))
        tokens = torch.tensor([[*row, *[0] * (width - len(row))] for row in self.rows])
        logits = self.model.logits(tokens, **self.others)
        return logits[torch.arange(len(self.rows)), [len(row) - 1 for row in self.rows]]
