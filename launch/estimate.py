"""How long the trainings of a study will take: FLOPs by a guessed speed, or by that of those that have ended.

A guess is the peak of a place times the share of it that a model of some width reaches; narrow matrices keep
no unit busy. As soon as trainings of the study have ended, their own speeds set how good the guess was.
"""

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from data_prep.contract.receipt import read_receipt
from launch.local import Place, device_name
from pipeline.scaling.grid import Cell

START_SECONDS = 15.0
"""To load the libraries, open MLflow, save and close."""
HALF_WIDTH, MOST = {"cpu": 120, "gpu": 2048}, {"cpu": 1.0, "gpu": 0.6}
"""The width at which half of the most is reached, and the share of the peak that wide models come to."""
GPU_PEAK = 1e14
"""FLOP/s of a GPU that is in no table."""


def seconds(cells: Iterable[Cell], work: Path, peak: float, device: str) -> dict[str, float]:
    """Of each training on a place with so many FLOP/s, by name; of one that has ended, what it took."""
    guessed, known = {}, []
    for one in cells:
        width = one.model.hidden_size
        speed = peak * MOST[device] * width / (width + HALF_WIDTH[device])
        guessed[one.name] = one.flops / speed
        receipt = read_receipt(work / one.name)
        measured = receipt.counts.get("model_flops_per_second") if receipt else None
        if measured and np.isfinite(measured) and measured > 0:
            known.append(speed / float(measured))
    slower = median(known) if known else 1.0
    return {name: START_SECONDS + slower * guess for name, guess in guessed.items()}


def together(each: Sequence[float], places: int) -> float:
    """Seconds until the last of some trainings has ended, the longest begun first."""
    ends = [0.0] * places
    for one in sorted(each, reverse=True):
        ends[ends.index(min(ends))] += one
    return max(ends, default=0.0)


def peak_of(place: Place) -> tuple[float, str]:
    """FLOP/s of a place, and whether it is of GPUs or of processors, whose float32 products are timed."""
    if not place.devices:
        share = place.threads * place.processes / threads()
        return measure() * min(1.0, share), "cpu"
    import torch

    from pipeline.training.peak_flops import data_sheet

    return len(place.devices) * (data_sheet(device_name(), torch.bfloat16) or GPU_PEAK), "gpu"


def threads() -> int:
    """Those that numpy's products run on."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def measure(size: int = 1024, rounds: int = 5) -> float:
    """FLOP/s of the best of some float32 matrix products, by processor time: as on a machine that is free."""
    matrix, best = np.ones((size, size), np.float32), float("inf")
    for _ in range(rounds):
        began = time.thread_time()
        matrix @ matrix
        best = min(best, time.thread_time() - began)
    return 2.0 * size**3 / best
