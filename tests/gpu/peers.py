"""transformers' model of a case in a plain loop: what a short script makes of the same device."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.distributed import world
from tests.benchmarks.references import reference
from tests.gpu.training import Case, Figures, batches, configuration, describe_world, figures


def measure(case: Case, compiled: bool, warmup: int, steps: int) -> Figures:
    """Steps of forward, loss, backward, clipping and torch's fused AdamW.

    On a GPU float32 weights are multiplied in bfloat16 by autocast, as is usual there.
    """
    config = configuration(case)
    describe_world()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    here = world.start(config.parallel, config.seed)
    model = reference(config.model, case.vocabulary, config.data.sequence_length).to(here.device)
    if compiled:
        model.compile()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    compute = loss_of(model, case, here)

    def step() -> float:
        began = time.perf_counter()
        for made in batches(config, case.vocabulary, case.accumulation, 0):
            loss = compute({name: torch.from_numpy(array).to(here.device) for name, array in made.items()})
            (loss / case.accumulation).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if here.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    return figures(config, case, here, step, warmup, steps)


def loss_of(model: nn.Module, case: Case, here: world.World) -> Callable[[dict[str, Tensor]], Tensor]:
    """A function from a batch's arrays to the mean loss."""
    on_gpu = here.device.type == "cuda"

    def compute(batch: dict[str, Tensor]) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16, enabled=on_gpu):
            if "encoder_tokens" in batch:
                logits = model(
                    input_ids=batch["encoder_tokens"],
                    attention_mask=batch["encoder_segments"],
                    decoder_input_ids=batch["tokens"],
                ).logits
            else:
                logits = model(batch["tokens"]).logits
        return nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch["targets"].flatten())

    return compute
