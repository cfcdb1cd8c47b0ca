"""What one transformer layer does in a step: its products, its attention, its memory traffic, its exchanges.

Counts are of one rank and one micro batch. Memory traffic is in values moved: without sequence parallelism
each tensor parallel rank has the whole residual stream, so that norms, residual sums and dropout are not
divided by the tensor parallel size.
"""

from dataclasses import dataclass

from pipeline.config import ModelConfig
from pipeline.costs import flops
from pipeline.costs.lengths import Lengths
from pipeline.planning.calibration import LAUNCH
from pipeline.planning.engine import Engine
from pipeline.planning.kernels import Gpu, Product
from pipeline.planning.layout import Layout

KERNELS = 8
"""Elementwise kernels of a layer's forward pass: norms, residual sums, nonlinearity, copies of heads; twice
as many in its backward pass."""


@dataclass(frozen=True)
class Times:
    """Seconds of one layer and one micro batch."""

    products: float
    attention: float
    elementwise: float

    @property
    def total(self) -> float:
        return self.products + self.attention + self.elementwise


@dataclass(frozen=True)
class Block:
    """One layer on one rank, in the encoder before a decoder or in the main stack."""

    model: ModelConfig
    lengths: Lengths
    inner: bool
    layout: Layout
    engine: Engine
    gpu: Gpu

    @property
    def queries(self) -> int:
        return (
            self.lengths.targets
            if self.cross or (self.lengths.targets and not self.inner)
            else self.lengths.inputs
        )

    @property
    def cross(self) -> bool:
        """Whether it looks at an encoder's outputs too."""
        return bool(self.lengths.targets) and not self.inner

    @property
    def tokens(self) -> int:
        return self.layout.micro_batch * self.queries

    def products(self) -> list[Product]:
        """Products with weights in the forward pass."""
        model, tensor = self.model, self.layout.tensor
        hidden, width = model.hidden_size, model.heads * model.head_width / tensor
        pair = 2 * max(1, model.kv_heads / tensor) * model.head_width
        found = [
            Product(self.tokens, width + pair, hidden),
            Product(self.tokens, hidden, width),
            *self._mlps(),
        ]
        if self.cross:
            read = self.layout.micro_batch * self.lengths.inputs
            found += [Product(self.tokens, width, hidden), Product(read, pair, hidden)]
            found += [Product(self.tokens, hidden, width)]
        return found

    @property
    def routed(self) -> float:
        """Share of the stack's layers that have experts: a layer stands for the mean of them."""
        layers = self.model.encoder_depth if self.inner and self.lengths.targets else self.model.layers
        return self.model.expert_layers(layers) / layers

    def _mlps(self) -> list[Product]:
        """Those of the MLP, or of this rank's experts, which get equally many tokens, beside shared ones."""
        model, tensor, experts = self.model, self.layout.tensor, self.model.experts
        if experts is None:
            return self._mlp(self.tokens, model.mlp_size / tensor)
        tokens = self.tokens * self.routed
        each = self._mlp(tokens * experts.active / experts.count, model.mlp_size)
        found = each * max(1, experts.count // tensor)
        if experts.shared:
            found += self._mlp(tokens, experts.shared * model.mlp_size / tensor)
        if self.routed < 1:
            found += self._mlp(self.tokens - tokens, model.mlp_size / tensor)
        return found

    def _mlp(self, tokens: float, width: float) -> list[Product]:
        hidden, fused = self.model.hidden_size, 2 if self.model.gated else 1
        return [Product(tokens, fused * width, hidden), Product(tokens, hidden, width)]

    def forward(self) -> Times:
        """The forward pass."""
        products = sum(self.gpu.multiply(one, self.engine.products_in_fp8) for one in self.products())
        moving = max(self.gpu.move(self.gpu.width * self.traffic()), KERNELS * LAUNCH)
        return Times(products, self.attention(), moving)

    def backward(self) -> Times:
        """The backward pass, without what is computed again."""
        products = sum(self.gpu.train(one, self.engine.products_in_fp8) for one in self.products())
        moving = max(self.gpu.move(self.gpu.width * self.traffic_back()), 2 * KERNELS * LAUNCH)
        return Times(products, self.attention(back=True), moving)

    def attention(self, back: bool = False) -> float:
        """Seconds of scores and weighted values."""
        causal = self.model.architecture == "decoder" or self.cross
        seconds = self._attend(self.queries, causal, back)
        return seconds + (self._attend(self.lengths.inputs, False, back) if self.cross else 0.0)

    def _attend(self, keys: int, causal: bool, back: bool) -> float:
        model, share = self.model, self.engine.attention
        heads = model.heads / self.layout.tensor
        work = 4 * self.tokens * keys * heads * model.head_width
        if share is not None:
            return self.gpu.fused(work * (0.5 if causal else 1) * (2.5 if back else 1), share)
        # Scores go through memory: two products forward and four backward, each as a batch over heads.
        one = Product(self.queries, keys, model.head_width)
        best = self.gpu.device.peak(self.gpu.precision) * self.gpu.device.matmul
        batch = self.layout.micro_batch * heads
        each = max(
            work / 2 / best,
            self.gpu.move(self.gpu.width * batch * one.values),
        )
        scores = batch * self.queries * keys
        passes = (3 + 2.5) if back else (2 + (2.5 if model.attention_drop else 0))
        return each * (4 if back else 2) + self.gpu.move(self.gpu.width * scores * passes)

    def traffic(self) -> float:
        """Values that elementwise kernels move in the forward pass."""
        model = self.model
        norms = flops.block_norms(model, self.cross)
        adds = 3 if self.cross else 2
        stream = self.tokens * model.hidden_size * (2 * norms + (3.5 if model.dropout else 3) * adds)
        mlp = self._mlp_values() * (3 if model.gated else 2) + self._sent_values()
        turned = self.tokens * model.heads * model.head_width * (4 if model.positions == "rope" else 2)
        return stream / self._shared + (mlp + turned) / self.layout.tensor

    def traffic_back(self) -> float:
        """Values that elementwise kernels move in the backward pass."""
        model = self.model
        norms = flops.block_norms(model, self.cross)
        adds = 3 if self.cross else 2
        dropped = 2.5 if model.dropout else 0
        stream = self.tokens * model.hidden_size * (6 * norms + (dropped + model.bias) * adds)
        mlp = self._mlp_values() * (5 if model.gated else 3 + model.bias) + self._sent_values()
        turned = self.tokens * model.heads * model.head_width * (8 + 3 * model.bias)
        return stream / self._shared + (mlp + turned) / self.layout.tensor

    def _mlp_values(self) -> float:
        """Values inside the MLP, or in all experts that tokens go through."""
        experts = self.model.experts
        mlps = experts.active + experts.shared if experts else 1
        return self.tokens * self.model.mlp_size * (self.routed * mlps + 1 - self.routed)

    def _sent_values(self) -> float:
        """Values that are moved to experts and back: read, written, weighted and added up."""
        active = self.model.experts.active if self.model.experts else 0
        return 6 * self.tokens * self.model.hidden_size * active * self.routed

    @property
    def _shared(self) -> int:
        return self.layout.tensor if self.layout.sequence else 1

    def exchanges(self) -> int:
        """Sums of the residual stream over tensor parallel ranks in the forward pass; as many backward."""
        return 3 if self.cross else 1 if self.model.parallel_block != "none" else 2
