"""What people see of a training: lines in the terminal or the log, metrics, and the receipt at the end."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from data_prep.contract.receipt import Receipt, versions, write_receipt
from pipeline.costs.devices import TERA
from pipeline.health.hang import REPORT
from pipeline.tracking.tracker import Status, Tracker
from pipeline.training.job import Job
from pipeline.training.peak_flops import Peak

FORMULA = "model FLOPs of a step / (its seconds x the peak of all devices), recomputation not counted"


class Progress:
    """Lives on the main rank alone."""

    def __init__(self, job: Job, start: int, notify: Callable[[str], None], peak: Peak | None) -> None:
        self.job, self.notify, self.peak = job, notify, peak
        self.unit = "tokens" if job.config.vision is None else "images"
        self.started = time.time()
        self._seconds: list[float] = []  # by the sample, of which a step may have more or fewer
        self._tokens = self._samples = 0
        self._last: dict[str, float] = {}
        self.tracker = Tracker(
            job.folder,
            job.work,
            job.stage,
            job.config.model_dump(mode="json"),
            job.config.tracking,
            notify,
            identity=job.fingerprint,
        )
        self.tracker.start_from(start)
        self._describe()

    def _describe(self) -> None:
        """Tell what goes in, and what MFU is measured against."""
        if self.job.dataset:
            self.tracker.dataset(self.job.dataset.manifest, self.job.dataset.folder)
        for name, digest in self.job.inputs.items():
            if name not in ("dataset", "pretrained"):
                self.tracker.input(name, digest)
        if (self.job.folder / REPORT).is_file():
            self.tracker.artifact(self.job.folder / REPORT)
        if self.peak:
            said = f"{self.peak.flops / TERA:,.2f} TFLOP/s ({self.peak.words})"
            self.tracker.tags({"mlflow.note.content": f"mfu = {FORMULA}. The peak is {said}."})

    def step(self, done: int, metrics: dict[str, float], tokens: int, seconds: float, waited: float) -> None:
        """A step on so many tokens, padding left out; it took `seconds`, `waited` of them for data.

        An encoder's tokens and its decoder's both count.
        """
        samples = self.job.optim.batch_at(done - 1)
        self._seconds.append(seconds / samples)
        self._tokens, self._samples = self._tokens + tokens, self._samples + samples
        metrics |= {
            "tokens_per_second": tokens / seconds,
            "model_flops_per_second": samples * self.job.sample_flops / seconds,
            "data_wait_share": waited / seconds,
            "restarts": float(self.job.restarts),
        }
        if self.peak:
            metrics["mfu"] = samples * self.job.sample_flops / seconds / self.peak.flops
        self._last |= metrics
        self.tracker.log(done, metrics)
        if done % self.job.optim.log_every == 0 or "validation_loss" in metrics:
            self.notify(self._line(done, metrics))

    def _line(self, done: int, metrics: dict[str, float]) -> str:
        steps = self.job.optim.steps
        optim = self.job.optim
        samples = optim.samples_before(steps) - optim.samples_before(done)
        left = int(samples * median(self._seconds[-100:]))
        parts = [
            f"{self.job.stage}: step {done:>{len(str(steps))}}/{steps}",
            f"loss {metrics['loss']:.4f}",
            f"lr {metrics['learning_rate']:.2e}",
            f"grad {metrics['gradient_norm']:.2f}",
            f"{metrics['tokens_per_second']:,.0f} {self.unit}/s",
            f"{left // 60}:{left % 60:02d} left",
        ]
        if "validation_loss" in metrics:
            parts.append(f"validation loss {metrics['validation_loss']:.4f}")
        return "  ".join(parts)

    def stopped(self, done: int, failed: bool) -> None:
        """The run was asked to stop after so many steps; `failed` says that it is not saved."""
        saved = "its checkpoint could not be written, the one before it stays; " if failed else ""
        self.notify(f"{self.job.stage}: stopped after step {done}; {saved}the same command goes on")

    def finish(self, data: list[dict[str, Any]], measured: dict[str, Any], steps: int) -> None:
        """The training has come to its end: leave the receipt, with what the data was made of.

        `measured` are the metrics of the last checkpoint, and what the task measured at the end; `steps` are
        those that made the weights which stay.
        """
        job = self.job
        receipt = Receipt(
            stage=job.stage,
            kind=job.kind,
            fingerprint=job.fingerprint,
            config=job.config.model_dump(mode="json"),
            inputs=job.inputs,
            counts=self._summary(steps) | measured | {"data": data},
            seconds=time.time() - self.started,
            versions=versions("torch", "deepspeed", "megatron-core"),
        )
        write_receipt(job.folder, receipt)

    def _summary(self, steps: int) -> dict[str, Any]:
        optim, length = self.job.optim, self._tokens / max(1, self._samples)
        typical = median(self._seconds) if self._seconds else float("inf")
        return {
            "parameters": self.job.parameters,
            "active_parameters": self.job.active_parameters,
            "steps": steps,
            "tokens": round(optim.samples_before(steps) * length),
            "loss": self._last.get("loss", float("nan")),
            **{name: value for name, value in self._last.items() if name.startswith("validation_")},
            "tokens_per_second": length / typical,
            "model_flops_per_second": self.job.sample_flops / typical,
            "mfu": self.job.sample_flops / typical / self.peak.flops if self.peak else None,
            "peak_flops_per_second": self.peak._asdict() if self.peak else None,
        }

    def close(self, status: Status) -> None:
        """Send what is left to MLflow."""
        self.tracker.close(status)
