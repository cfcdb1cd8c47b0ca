"""Rows of tokens that a decoder goes on with, one token each at a time.

Rows of different lengths are padded on the left, so that they all end in the same column, and what follows
them is in the next one. Padding is a segment of its own and positions count from each row's first token, so a
row gives what it would give alone.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from megatron.core.tensor_parallel.mappings import gather_from_tensor_model_parallel_region
from torch import Tensor

from pipeline.models.cache import Cache
from pipeline.models.layer import Flow
from pipeline.parallel.stack import Stack

Rows = Sequence[Sequence[int]]


class Session:
    """One batch under way: `start` reads what is there, `step` adds a token to every row."""

    def __init__(
        self,
        stack: Stack,
        device: torch.device,
        longest: int,
        prefix: bool = False,
        sources: Rows | None = None,
        seen: Flow | None = None,
    ) -> None:
        """A decoder of rows of at most `longest` tokens, behind an encoder that reads `sources`, one a row.

        `seen` is what else the encoder is given of each row, such as `pixels`.
        With `prefix` the tokens it starts from see each other both ways (prefix LM).
        """
        self.stack, self.device, self.longest, self.prefix = stack, device, longest, prefix
        self.cache = Cache(0)
        self._pad(torch.zeros(0, dtype=torch.long, device=device))
        self._memory = {} if sources is None else self._encode(sources, seen or {})

    @torch.inference_mode()
    def start(self, rows: Rows, room: int) -> Tensor:
        """Float32 logits [B, V] of what follows each row, with room for so many more tokens where they fit.

        No row may be empty or longer than `longest`.
        """
        width = max(map(len, rows))
        assert width <= self.longest
        self.cache = Cache(min(width + room, self.longest))
        tokens_BS, padding_B = self._padded(rows, width, left=True)
        self._pad(padding_B)
        return self._run({"tokens": tokens_BS} | self.beside(width))

    def beside(self, width: int) -> Flow:
        """What else a decoder is given with the `width` columns that it starts from."""
        rows = len(self._padding_B)
        return {"prefix": self._padding_B.new_full((rows,), width)} if self.prefix else {}

    @torch.inference_mode()
    def step(self, tokens_B: Tensor) -> Tensor:
        """The same after one more token in every row; there must be room for it."""
        return self._run({"tokens": tokens_B.unsqueeze(1)})

    @torch.inference_mode()
    def follow(self, rows: Rows) -> Tensor:
        """Float32 logits [B, S, V] of what follows each of several more tokens; no row may be empty.

        Rows are padded on the right, so that this is the last that a session does.
        """
        tokens_BS, _ = self._padded(rows, max(map(len, rows)), left=False)
        outputs = self._outputs({"tokens": tokens_BS, "every_place": tokens_BS})
        return gather_from_tensor_model_parallel_region(outputs["logits"]).transpose(0, 1).float()

    @property
    def full(self) -> bool:
        """Whether there is no room for another token."""
        return self.cache.length == self.cache.capacity

    @torch.inference_mode()
    def select(self, rows: Tensor) -> None:
        """Go on with these rows, in this order; a row may be taken more than once or not at all."""
        self.cache.select(rows)
        self._pad(self._padding_B[rows])
        self._memory = {
            name: one.index_select(1 if name in ("memory", "media") else 0, rows)
            for name, one in self._memory.items()
        }

    @torch.inference_mode()
    def reorder(self, rows: Tensor) -> None:
        """The same where each row is replaced by one that started as it did."""
        self.cache.reorder(rows)

    @torch.inference_mode()
    def join(self, others: Sequence["Session"], room: int) -> None:
        """Go on with the rows of other sessions, too, behind these; with room for so many more tokens.

        Columns that no row needs any more are given up, so that nothing but room is made where `others` are
        none. All sessions must be of one model and have been started.
        """
        parts = [self, *others]
        lengths_B = torch.cat([one.cache.length - one._padding_B for one in parts])
        width = int(lengths_B.max())
        self._memory, sources = _side_by_side([one._memory for one in parts])
        capacity = min(width + room, self.longest)
        self.cache = Cache.joined([one.cache for one in parts], width, capacity, sources)
        self._pad(width - lengths_B)

    def _pad(self, padding_B: Tensor) -> None:
        """So many first columns of each row are padding."""
        self._padding_B = padding_B
        self._padded_rows = bool(padding_B.any())
        columns = torch.arange(self.cache.capacity, device=self.device)
        self._segments = (columns >= padding_B.unsqueeze(1)).int()

    def _run(self, inputs: Flow) -> Tensor:
        return gather_from_tensor_model_parallel_region(self._outputs(inputs)["logits"][-1]).float()

    def _outputs(self, inputs: Flow) -> Flow:
        first, last = self.cache.length, self.cache.length + inputs["tokens"].shape[1]
        positions = torch.arange(first, last, device=self.device).unsqueeze(0)
        flow: Flow = self._memory | inputs | {"cache": self.cache}
        if self._padded_rows:
            flow["segments"] = self._segments[:, :last]
            positions = (positions - self._padding_B.unsqueeze(1)).clamp(min=0)
        outputs = self.stack.decode(flow | {"positions": positions})
        self.cache.length = last
        return outputs

    @torch.inference_mode()
    def _encode(self, sources: Rows, seen: Flow) -> Flow:
        width = max(map(len, sources))
        assert width <= self.longest
        tokens_BS, padding_B = self._padded(sources, width, left=False)
        inputs: Flow = seen | {"encoder_tokens": tokens_BS}
        if any(len(source) < width for source in sources):
            places = torch.arange(width, device=self.device)
            inputs["encoder_segments"] = (places < width - padding_B.unsqueeze(1)).int()
        return self.stack.encode(inputs)

    def _padded(self, rows: Rows, width: int, left: bool) -> tuple[Tensor, Tensor]:
        """[B, S] tokens, and [B] how many of each row's columns are padding."""
        padded = [
            [0] * (width - len(row)) + [*row] if left else [*row] + [0] * (width - len(row)) for row in rows
        ]
        padding = torch.tensor([width - len(row) for row in rows], device=self.device)
        return torch.tensor(padded, device=self.device), padding


def _side_by_side(memories: Sequence[Flow]) -> tuple[Flow, int]:
    """Encoders' outputs of several sessions for one decoder, and how many columns they have then."""
    if not memories[0]:
        return {}, 0
    widths = [one["memory"].shape[0] for one in memories]
    width = max(widths)
    memory = torch.cat(
        [F.pad(one["memory"], (0, 0, 0, 0, 0, width - one["memory"].shape[0])) for one in memories], 1
    )
    if len({*widths}) == 1 and all("encoder_segments" not in one for one in memories):
        return {"memory": memory}, width
    segments = [_segments_of(one) for one in memories]
    return {
        "memory": memory,
        "encoder_segments": torch.cat([F.pad(one, (0, width - one.shape[1])) for one in segments]),
    }, width


def _segments_of(memory: Flow) -> Tensor:
    """[B, S], 0 where a source is padding."""
    if "encoder_segments" in memory:
        return memory["encoder_segments"]
    sources, rows, _ = memory["memory"].shape
    return torch.ones(rows, sources, dtype=torch.int32, device=memory["memory"].device)
