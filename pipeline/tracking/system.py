"""What the machine does while a run trains: samples into `system.jsonl`, MLflow's system metrics.

    {"step": 7, "time": 1719000000.0, "system/cpu_utilization_percentage": 93.5, ...}

`step` counts the samples, and goes on where an earlier process of the run stopped. The names are those that
MLflow's own sampler uses; unlike that one, the samples are kept while the server is away.
"""

import contextlib
import threading
from pathlib import Path
from typing import Any

from pipeline.tracking import metrics

SYSTEM = "system.jsonl"
MEGABYTE = 1e6


class SystemSampler:
    """A thread that takes a sample every so many seconds; 0 takes none."""

    def __init__(self, path: Path, every: float) -> None:
        self.path, self.every = path, every
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None and self.every > 0:
            self._thread = threading.Thread(target=self._work, name="system metrics", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop it."""
        self._closing.set()

    def _work(self) -> None:
        metrics.drop_after(self.path, 2**62)
        number = max((line["step"] for line in metrics.read(self.path)), default=-1)
        machine = Machine(self.path.parent)
        while not self._closing.wait(self.every):
            number += 1
            sample = {f"system/{name}": value for name, value in machine.sample().items()}
            with contextlib.suppress(OSError):  # a full disk costs samples, and the run says so elsewhere
                metrics.append(self.path, number, sample)


class Machine:
    """This machine, its GPUs and the disk that `folder` is on."""

    def __init__(self, folder: Path) -> None:
        import psutil

        self.folder, self._psutil = folder, psutil
        self._network = psutil.net_io_counters()
        self._gpus = gpus()
        psutil.cpu_percent()

    def sample(self) -> dict[str, float]:
        """Values by MLflow's names; network counts begin with the first sample of this process."""
        memory, disk = self._psutil.virtual_memory(), self._psutil.disk_usage(str(self.folder))
        network = self._psutil.net_io_counters()
        values = {
            "cpu_utilization_percentage": self._psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / MEGABYTE,
            "system_memory_usage_percentage": memory.percent,
            "process_memory_megabytes": self._psutil.Process().memory_info().rss / MEGABYTE,
            "disk_usage_percentage": disk.percent,
            "disk_available_megabytes": disk.free / MEGABYTE,
            "network_receive_megabytes": (network.bytes_recv - self._network.bytes_recv) / MEGABYTE,
            "network_transmit_megabytes": (network.bytes_sent - self._network.bytes_sent) / MEGABYTE,
        }
        for number, gpu in enumerate(self._gpus):
            values |= gpu_values(number, gpu)
        return values


def gpus() -> list[Any]:
    """Handles of the GPUs; none where NVIDIA's library or its Python binding is missing."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    return [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]


def gpu_values(number: int, gpu: Any) -> dict[str, float]:
    """Memory, utilization and power of one GPU."""
    import pynvml

    memory = pynvml.nvmlDeviceGetMemoryInfo(gpu)
    return {
        f"gpu_{number}_memory_usage_megabytes": memory.used / MEGABYTE,
        f"gpu_{number}_memory_usage_percentage": 100 * memory.used / memory.total,
        f"gpu_{number}_utilization_percentage": pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
        f"gpu_{number}_power_usage_watts": pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
    }
