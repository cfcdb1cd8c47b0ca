"""What the planner predicts of published runs, beside what was published of them.

    python -m tests.benchmarks.plan [--at-least 0.8]

Reads ../shared/data/published_runs, which `bloomery plan` never does. A run is described by what its source
says of it: the model, the GPUs, the layout, and what its program fuses, splits and hides (an `Engine`). Where
a source does not say the micro batch, the chunks or the layout, the planner's fastest that fits is taken.

Three groups of runs have been used to choose constants and count for nothing in the verdict: SUSTAINED (the
22B and 175B steps of Korthikanti et al.), DeepSpeed's gathers of 2021 (the 174.6B models with ZeRO-3), FSDP's
gathers and the attention kernel of llm-foundry (three of its runs). All others are held out. The last line is
the share of the held out rows that are predicted within 10 %.
"""

import argparse
import csv
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.contract.report import Table
from pipeline.config import DataConfig, ModelConfig, PipelineConfig
from pipeline.config.presets import LLAMA2
from pipeline.costs import activations, flops, memory
from pipeline.costs.devices import BY_NAME, TERA
from pipeline.costs.lengths import Lengths
from pipeline.planning.budget import PETAFLOP_DAY
from pipeline.planning.cluster import Cluster
from pipeline.planning.engine import BLOOMERY, Engine
from pipeline.planning.layout import Layout
from pipeline.planning.search import Wanted, best
from pipeline.planning.step import Step, step
from pipeline.planning.task import Task
from pipeline.reports.scaling import table_lines

RUNS = Path(__file__).parents[3] / "shared" / "data" / "published_runs" / "published_runs.csv"
CLOSE = 0.1
A100, H100 = BY_NAME["a100-80"], BY_NAME["h100"]
GIB, DAY, HOUR = 1 << 30, 86_400, 3600

MEGATRON_2021 = Engine(attention=None, split_transfers=True, reduce_hidden=0.0)
"""Narayanan et al. 2021: scores in memory, gradients exchanged behind the last backward pass."""
MEGATRON_2022 = replace(MEGATRON_2021, tensor_hidden=0.5, accumulation_bytes=0)
"""Korthikanti et al. 2022 hide a part of the exchanges behind gradients of weights, whose products add to
float32 sums behind what they compute."""
MEGATRON_2025 = Engine(split_transfers=True, tensor_hidden=0.8, products_in_fp8=True)
DEEPSPEED_2021 = replace(
    MEGATRON_2021, split_transfers=False, gather_share=0.16, gather_hidden=0.4, accumulation_bytes=10
)
FSDP_2023 = Engine(attention=0.15, gather_share=1.0, gather_hidden=0.0)
"""llm-foundry on H100 with the Triton kernel for attention with ALiBi."""
METASEQ = replace(MEGATRON_2021, gather_share=1.0, gather_hidden=0.0)
XFORMERS = replace(BLOOMERY, attention=0.35, tensor_hidden=0.5)
"""LLaMA's: fused attention of its time, which reaches 25 to 40 % (Dao 2023), exchanges behind computing."""

SHAPES = {  # layers, width, heads
    "MPT 70b": (80, 8192, 64),
    "MPT 30b": (48, 7168, 56),
    "MPT 13b": (40, 5120, 40),
    "MPT 7b": (32, 4096, 32),
    "MPT 3b": (32, 2560, 20),
    "MPT 1b": (24, 2048, 16),
    "MPT 760m": (24, 1536, 12),
    "GPT 174.6B": (96, 12288, 96),
    "GPT 529.6B": (105, 20480, 128),
}
LLAMA3 = LLAMA2 | {"key_value_heads": 8}
LLAMAS = {
    "LLaMA 7B": {"preset": "llama-7b"},
    "LLaMA 13B": {"preset": "llama-13b"},
    "LLaMA 33B": {"preset": "llama-33b"},
    "LLaMA 65B": {"preset": "llama-65b"},
    "Llama 2 7B": {"preset": "llama2-7b"},
    "Llama 2 13B": {"preset": "llama2-13b"},
    "Llama 2 34B": LLAMA3 | {"layers": 48, "hidden_size": 8192, "heads": 64, "feed_forward_size": 22016},
    "Llama 2 70B": {"preset": "llama2-70b"},
    "Llama3 8B": LLAMA3 | {"layers": 32, "hidden_size": 4096, "heads": 32, "feed_forward_size": 14336},
    "Llama3 70B": LLAMA3 | {"layers": 80, "hidden_size": 8192, "heads": 64, "feed_forward_size": 28672},
}
CHUNKS = {"Llama3 70B": 5}
"""Interleaving that the source's row does not say."""
LLAMA_BATCH, LLAMA_GPUS = 4 << 20, 2048
"""Tokens of a step (LLaMA 2023 table 2) and GPUs (section 2.4, of the 65B model; the others do not say)."""
GPT3_TOKENS = 300e9

CALIBRATED = {
    "korthikanti-t5-22B-full", "korthikanti-t5-22B-selective", "korthikanti-t5-175B-full",
    "korthikanti-t5-175B-selective", "sc21-t2-zero3-174.6-384", "sc21-t2-zero3-174.6-768",
    "sc21-t2-zero3-174.6-1536", "mpt-h100-7b-8-2048", "mpt-h100-7b-8-8192", "mpt-h100-30b-8-2048",
}  # fmt: skip
SMALL = "small models, where what is neither a product nor memory traffic of a layer weighs most"
REASONS = {
    "mtnlg": "the source trains at 126 TFLOP/s where Megatron-LM alone reaches 159 with that model and "
    "layout; what DeepSpeed's pipeline of that time loses beside its bubble is not in the model",
    "llama": "the source says no layout and, but for 65B, no number of GPUs, and its hours hold restarts; "
    "by its own table Llama 2 34B trains at fewer FLOPs a second than 70B",
    "mpt-h100-760m": SMALL,
    "mpt-h100-1b": SMALL,
    "bloom": "restarts and evaluations are in the published hours: an upper bound",
    "opt-175b": "its sharded weights hide a part of their gathers behind computing, those of the runs that "
    "FSDP was fitted to hide none",
}

Row = Mapping[str, str]


@dataclass(frozen=True)
class Checked:
    row: Row
    predicted: float

    @property
    def published(self) -> float:
        return float(self.row["value"])

    @property
    def ratio(self) -> float:
        return self.predicted / self.published

    @property
    def close(self) -> bool:
        return abs(self.ratio - 1) <= CLOSE

    @property
    def held_out(self) -> bool:
        return self.row["id"] not in CALIBRATED


def number(row: Row, key: str, default: int = 0) -> int:
    """A whole number of a cell; `default` where it is empty."""
    return int(row[key]) if row[key] else default


def gpt(layers: int, hidden: int, heads: int, length: int, vocabulary: int = 51_200, **more: object) -> Task:
    """A GPT with learned positions and dropout, as Megatron-LM's."""
    keys = {"layers": layers, "hidden_size": hidden, "heads": heads, "dropout": 0.1} | more
    return task_of(ModelConfig.model_validate(keys), length, vocabulary)


def task_of(model: ModelConfig, length: int, vocabulary: int) -> Task:
    """A decoder on samples of `length` tokens."""
    config = PipelineConfig(name="published", model=model, data=DataConfig(sequence_length=length))
    return Task(config, Lengths(length), flops.padded_vocabulary(vocabulary))


def even(layers: int, stages: int) -> list[tuple[int, int]]:
    """As many layers on each stage."""
    return [(0, layers // stages + (stage < layers % stages)) for stage in range(stages)]


def megatron_task(row: Row) -> Task:
    """The model of a row of Megatron-LM's."""
    shape = SHAPES.get(row["model"]) or (number(row, "layers"), number(row, "hidden"), number(row, "heads"))
    return gpt(*shape, length=2048)


def megatron(row: Row, engine: Engine, chunks: list[int], micro_batches: list[int]) -> Step:
    """The fastest step with one of these numbers of chunks and micro batch sizes."""
    task = megatron_task(row)
    gpus, tensor, pipeline, batch = (number(row, key) for key in ("gpus", "tp", "pp", "global_batch"))
    data = gpus // (tensor * pipeline)
    selective = row["recompute"].startswith("selective")
    found = [
        step(
            task,
            Layout(
                tensor=tensor,
                pipeline=pipeline,
                data=data,
                micro_batch=size,
                micro_batches=batch // (data * size),
                zero_stage=3 if "ZeRO" in row["source"] else 0,
                recompute="selective" if selective else "full",
                sequence=selective,
                chunks=runs,
            ),
            Cluster(A100, gpus),
            even(task.model.layers, pipeline),
            engine,
        )
        for runs in chunks
        for size in micro_batches
        if batch % (data * size) == 0 and task.model.layers % (pipeline * runs) == 0
    ]
    return min(found, key=lambda one: one.seconds)


def megatron_step(row: Row) -> Step:
    """The step of a row of SC21, MT-NLG or Korthikanti."""
    if row["id"].startswith("mtnlg"):
        return megatron(row, DEEPSPEED_2021, [1], [1])
    if "ZeRO" in row["source"]:
        return megatron(row, DEEPSPEED_2021, [1], [number(row, "micro_batch")])
    if row["id"].startswith("korthikanti"):
        return megatron(
            row, MEGATRON_2022, [3 if "3 model" in row["schedule"] else 1], [number(row, "micro_batch")]
        )
    chunks = [1] if number(row, "pp") == 1 else [1, 2, 3, 4]
    return megatron(
        row, MEGATRON_2021, chunks, [number(row, "micro_batch")] if row["micro_batch"] else [1, 2, 4, 8, 16]
    )


def published_flops(row: Row) -> float:
    """Hardware FLOPs of a step as Narayanan et al. 2021 count them (equation 3), with full recomputation."""
    task, batch = megatron_task(row), number(row, "global_batch")
    model, length = task.model, 2048
    inside = 1 + length / (6 * model.hidden_size) + 51_200 / (16 * model.layers * model.hidden_size)
    return 96 * batch * length * model.layers * model.hidden_size**2 * inside


def hardware_tflops(row: Row) -> float:
    return published_flops(row) / megatron_step(row).seconds / number(row, "gpus") / TERA


def step_seconds(row: Row) -> float:
    return megatron_step(row).seconds


def days(row: Row) -> float:
    return 300e9 / (number(row, "global_batch") * 2048) * megatron_step(row).seconds / DAY


def opt_step() -> tuple[Step, int]:
    """OPT 175B (Zhang et al. 2022, section 2.4): tensor 8, fully sharded over 124; about 2M tokens a step."""
    layout = Layout(8, 1, 124, micro_batch=8, micro_batches=1, zero_stage=3, recompute="full")
    task = gpt(96, 12288, 96, length=2048, vocabulary=50_272)
    return step(task, layout, Cluster(A100, 992), even(96, 1), METASEQ), layout.global_batch


def opt_tflops(row: Row) -> float:
    found, batch = opt_step()
    row = dict(row) | {"global_batch": str(batch), "model": "GPT 174.6B"}
    return published_flops(row) / found.seconds / 992 / TERA


def opt_hours(_: Row) -> float:
    found, batch = opt_step()
    return GPT3_TOKENS / (batch * 2048) * found.seconds * 992 / HOUR


def bloom_hours(_: Row) -> float:
    """BLOOM 2022, section 3.2: tensor 4, pipeline 12, data 8, micro batch 2, batch 2,048, 366B tokens."""
    task = task_of(ModelConfig(preset="bloom-176b"), 2048, 250_880)
    layout = Layout(4, 12, 8, micro_batch=2, micro_batches=128, zero_stage=1, recompute="full")
    blocks = [(0, 5), *((0, 6) for _ in range(10)), (0, 5)]
    found = step(task, layout, Cluster(A100, 384), blocks, replace(MEGATRON_2022, split_transfers=False))
    return 366e9 / (layout.global_batch * 2048) * found.seconds * 384 / HOUR


def llama_hours(row: Row) -> float:
    length = 4096 if "Llama 2" in row["model"] else 2048
    task = task_of(ModelConfig.model_validate(LLAMAS[row["model"]]), length, 32_000)
    plans = best(task, Cluster(A100, LLAMA_GPUS), Wanted(LLAMA_BATCH // length), XFORMERS)
    return float(row["note"].partition("T")[0]) * 1e12 / plans[0].tokens_per_second * LLAMA_GPUS / HOUR


def bridge_speed(row: Row) -> float:
    """Tokens a second of a GPU."""
    task = task_of(ModelConfig.model_validate(LLAMAS[row["model"]]), 8192, 128_256)
    gpus, tensor, pipeline, batch = (number(row, key) for key in ("gpus", "tp", "pp", "global_batch"))
    data, size = gpus // (tensor * pipeline), number(row, "micro_batch")
    chunks = CHUNKS.get(row["model"], 1)
    layout = Layout(tensor, pipeline, data, size, batch // (data * size), 1, "none", tensor > 1, chunks)
    found = step(task, layout, Cluster(H100, gpus), even(task.model.layers, pipeline), MEGATRON_2025)
    return batch * 8192 / found.seconds / gpus


def bridge_tflops(row: Row) -> float:
    """Model FLOPs, causal attention counted half as the source does."""
    task = task_of(ModelConfig.model_validate(LLAMAS[row["model"]]), 8192, 128_256)
    return bridge_speed(row) * task.sample_flops / 8192 / TERA


def mpt_task(row: Row) -> Task:
    return gpt(*SHAPES[row["model"]], number(row, "seq"), 50_368, dropout=0.0, bias=False)


def mpt_speed(row: Row) -> float:
    """Tokens a second of a GPU."""
    gpus, batch, size, length = (number(row, key) for key in ("gpus", "global_batch", "micro_batch", "seq"))
    layout = Layout(
        1, 1, gpus, size, batch // (gpus * size), 3, "full" if row["recompute"] == "full" else "none"
    )
    task = mpt_task(row)
    found = step(task, layout, Cluster(H100, gpus), even(task.model.layers, 1), FSDP_2023)
    return batch * length / found.seconds / gpus


def mpt_mfu(row: Row) -> float:
    """In percent, attention counted as a full square, as the source does."""
    task, length = mpt_task(row), number(row, "seq")
    each = 6 * 1e9 * float(row["params_b"]) + 12 * task.model.layers * task.model.hidden_size * length
    return 100 * mpt_speed(row) * each / H100.peak("bfloat16")


def training_days(row: Row) -> float:
    """PF-days of GPT-3's table D.1: 6 FLOPs a parameter and token, parameters counted from the preset."""
    size = row["id"].removeprefix("gpt3-d1-").lower()
    name = {"small": "125m", "medium": "350m", "large": "760m", "xl": "1.3b"}.get(size, size)
    task = task_of(ModelConfig(preset=f"gpt3-{name}"), 2048, 50_257)
    return 6 * task.parameters * GPT3_TOKENS / PETAFLOP_DAY


def korthikanti(row: Row) -> tuple[Task, Layout]:
    """The first pipeline stage of a row of figures 1 and 7."""
    tensor, pipeline, batch = (number(row, key) for key in ("tp", "pp", "global_batch"))
    size, chunks = number(row, "micro_batch"), 3 if "3 model" in row["schedule"] else 1
    return megatron_task(row), Layout(tensor, pipeline, 1, size, batch // size, 0, "none", False, chunks)


def states_gib(row: Row) -> float:
    """Weights, gradients in float32 and the optimizer: 18 bytes a parameter there, of the first stage."""
    task, layout = korthikanti(row)
    blocks = even(task.model.layers, layout.pipeline)[0]
    return 18 * memory.stage_parameters(task.laid(layout), task.rows, 0, blocks) / layout.tensor / GIB


def kept_gib(row: Row, layout: Layout, scores: bool) -> float:
    """What the first stage's blocks keep; with `scores` also softmax, its dropout's mask and its output."""
    task, _ = korthikanti(row)
    config, model = task.laid(layout), task.model
    here = model.layers / layout.pipeline
    if layout.recompute == "full":
        inputs = activations.of_stage(config, task.lengths, 0, model.layers // layout.pipeline, width=2)
        kept = 2.0 * (inputs - activations.of_block(config, task.lengths, False, width=2))
    else:
        kept = 2.0 * here * activations.of_block(config, task.lengths, False, width=2)
    if scores:
        kept += here * 5 * model.heads / layout.tensor * 2048**2
    # All stages' depth of micro batches, and with interleaving some more (section 4.2.3 of the source)
    depth = layout.pipeline * (
        1 + (layout.pipeline - 1) / (layout.pipeline * layout.chunks) * (layout.chunks > 1)
    )
    return depth * layout.micro_batch * kept / GIB


def activations_none_gib(row: Row) -> float:
    return kept_gib(row, korthikanti(row)[1], scores=True)


def activations_selective_gib(row: Row) -> float:
    layout = replace(korthikanti(row)[1], recompute="selective", sequence=True)
    return kept_gib(row, layout, scores=False)


def activations_percent(row: Row) -> float:
    whole, how = korthikanti(row)[1], row["recompute"]
    sequence, full = "sequence" in how, how == "full"
    layout = replace(whole, sequence=sequence, recompute="full" if full else "none")
    part = kept_gib(row, layout, scores=how == "sequence")
    return 100 * part / kept_gib(row, whole, scores=True)


PREDICTS: dict[tuple[str, str], Callable[[Row], float]] = {
    ("sc21", "hardware_tflops_per_gpu"): hardware_tflops,
    ("sc21", "days_for_300B_tokens"): days,
    ("mtnlg", "step_seconds"): step_seconds,
    ("mtnlg", "tflops_per_gpu"): hardware_tflops,
    ("korthikanti", "step_seconds"): step_seconds,
    ("korthikanti", "weights_and_optimizer_gib"): states_gib,
    ("korthikanti", "activations_none_gib"): activations_none_gib,
    ("korthikanti", "activations_selective_sequence_gib"): activations_selective_gib,
    ("korthikanti", "activations_percent_of_none"): activations_percent,
    ("opt", "tflops_per_gpu"): opt_tflops,
    ("opt", "gpu_hours"): opt_hours,
    ("bloom", "gpu_hours"): bloom_hours,
    ("llama1", "gpu_hours"): llama_hours,
    ("llama2", "gpu_hours"): llama_hours,
    ("bridge", "tokens_per_second_per_gpu"): bridge_speed,
    ("bridge", "model_tflops_per_gpu"): bridge_tflops,
    ("mpt", "tokens_per_second_per_gpu"): mpt_speed,
    ("mpt", "mfu_percent"): mpt_mfu,
    ("gpt3", "training_pf_days"): training_days,
}
"""What is predicted of a row, by the first word of its name and its quantity."""


def check(rows: list[Row]) -> tuple[list[Checked], list[str]]:
    """Every row that can be predicted, and a line for each that cannot."""
    found, left = [], []
    for row in rows:
        predict = PREDICTS.get((row["id"].partition("-")[0], row["quantity"]))
        if predict is None or "405B" in row["model"]:
            why = "context parallelism is not in the model" if "405B" in row["model"] else "unknown quantity"
            left.append(f"left out: {row['id']} {row['quantity']}: {why}")
            continue
        found.append(Checked(row, predict(row)))
    return found, left


def table(found: list[Checked]) -> Table:
    """A line for each."""
    rows = [
        [
            one.row["id"],
            one.row["quantity"],
            f"{one.predicted:,.4g}" if one.predicted < 1e4 else f"{one.predicted:,.0f}",
            f"{one.published:,.4g}" if one.published < 1e4 else f"{one.published:,.0f}",
            f"{one.ratio:.3f}",
            "held out" if one.held_out else "calibrated on",
            "" if one.close else "miss",
        ]
        for one in found
    ]
    return Table(["run", "quantity", "predicted", "published", "ratio", "", ""], rows, frozenset({2, 3, 4}))


def verdict(name: str, found: list[Checked]) -> str:
    """How many of them are close."""
    errors = [abs(one.ratio - 1) for one in found]
    return (
        f"{name}: {sum(one.close for one in found)} of {len(found)} rows within {CLOSE:.0%}, "
        f"median error {statistics.median(errors):.1%}, largest {max(errors):.1%}"
    )


def groups(found: list[Checked]) -> Iterator[tuple[str, list[Checked]]]:
    """What the verdict is told of."""
    held = [one for one in found if one.held_out]
    stored = [one for one in held if one.row["unit"] in ("GiB", "%") and one.row["id"].startswith("korth")]
    counted = [one for one in held if one.row["quantity"] == "training_pf_days"]
    yield "calibrated on", [one for one in found if not one.held_out]
    yield "held out, memory", stored
    yield "held out, FLOPs", counted
    yield "held out, time", [one for one in held if one not in stored and one not in counted]
    yield "held out, all", held


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--at-least", type=float, default=0.0)
    arguments = parser.parse_args()
    if not RUNS.is_file():
        print(f"skipped: no published runs at {RUNS}")
        return 0
    with RUNS.open(newline="") as file:
        found, left = check(list(csv.DictReader(file)))
    for line in [*table_lines(table(found)), *left]:
        print(line)
    for start, why in REASONS.items():
        missed = [one.row["id"] for one in found if not one.close and one.row["id"].startswith(start)]
        if missed:
            print(f"miss: {', '.join(dict.fromkeys(missed))}: {why}")
    for name, group in groups(found):
        print(verdict(name, group))
    held = [one for one in found if one.held_out]
    share = sum(one.close for one in held) / len(held)
    print(f"plan ratio={share:.3f}")
    return int(share < arguments.at_least)


if __name__ == "__main__":
    sys.exit(main())
