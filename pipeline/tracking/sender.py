"""Lines of metrics files, sent to MLflow in order and each once.

A batch whose fate is unknown, because the process was killed while it was under way, is looked up before it
is sent again.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.tracking.metrics import Line, read_from
from pipeline.tracking.record import Record, StreamPlace

METRICS_PER_CALL = 1000
"""What MLflow takes in one call."""


class MetricsSender:
    """Sends the lines of a file of metrics in order, each once, whatever happens to this process.

    `names` are the metrics to send with what they are called there, all as they are where it is None. A file
    that is sent to several runs has a `stream` for each.
    """

    def __init__(
        self, path: Path, record: Record, stream: str = "", names: Mapping[str, str] | None = None
    ) -> None:
        self.path, self.record, self.names = path, record, names
        self.stream = stream or path.name
        self._offset, self._rewound = 0, 0

    def rewind(self) -> None:
        """Forget how far the file was read, for it was written anew; what is sent stays sent."""
        self._rewound += 1
        self._offset = 0

    def send(self, client: Any, run_id: str) -> int:
        """Send all lines that wait, in batches; returns how many."""
        count, rewound = 0, self._rewound
        if self.record.stream(self.stream).sending is not None:
            self._settle(client, run_id)
        lines = self._lines()
        while batch := list(_limited(lines)):
            line, place, _ = batch[-1]
            name = next(iter(line.keys() - {"step", "time"}), None)
            self.record.reached(self.stream, self.record.stream(self.stream).sent, place, name)
            send_lines(client, run_id, [line for line, _, _ in batch])
            self.record.reached(self.stream, place)
            count += len(batch)
            if rewound != self._rewound:
                return count
            self._offset = batch[-1][2]
        return count

    def _lines(self) -> Iterator[tuple[Line, StreamPlace, int]]:
        """Lines beyond the place that is sent, each with its place and the offset after it."""
        sent, place = self.record.stream(self.stream).sent, StreamPlace()
        if self._offset:
            place = sent
        for line, offset in read_from(self.path, self._offset):
            place = place.next(line["step"])
            if place > sent and (chosen := self._chosen(line)):
                yield chosen, place, offset

    def _chosen(self, line: Line) -> Line:
        """What is sent of a line; empty where it has none of the metrics."""
        if self.names is None:
            return line
        values = {there: line[name] for name, there in self.names.items() if name in line}
        return {"step": line["step"], "time": line["time"], **values} if values else {}

    def _settle(self, client: Any, run_id: str) -> None:
        """Learn from MLflow whether the batch arrived during which a process was killed.

        MLflow stores a batch in one transaction, so one of its metrics stands for all.
        """
        stream = self.record.stream(self.stream)
        sent = stream.sent
        if stream.sending is not None and stream.metric is not None:
            history = client.get_metric_history(run_id, metric_name(stream.metric))
            if any(metric.step == stream.sending.step for metric in history):
                sent = stream.sending
        self.record.reached(self.stream, sent)


def send_lines(client: Any, run_id: str, lines: list[Line]) -> None:
    """Log some lines of metrics in one call."""
    from mlflow.entities import Metric

    metrics = [
        Metric(
            metric_name(name), math.nan if value is None else value, int(line["time"] * 1000), line["step"]
        )
        for line in lines
        for name, value in line.items()
        if name not in {"step", "time"}
    ]
    client.log_batch(run_id, metrics=metrics)


def metric_name(name: str) -> str:
    """A name with the letters alone that MLflow takes in a metric's; another one would lose the whole call.

    >>> metric_name("beside_linear, 18,438 parameters (5 %)")
    'beside_linear 18438 parameters 5 '
    """
    return "".join(letter for letter in name if letter.isalnum() or letter in "_-. :/")


def _limited(lines: Iterable[tuple[Line, StreamPlace, int]]) -> Iterator[tuple[Line, StreamPlace, int]]:
    """As many of the lines as one call takes."""
    count = 0
    for line, place, offset in lines:
        yield line, place, offset
        count += len(line)
        if count + 100 > METRICS_PER_CALL:
            return
