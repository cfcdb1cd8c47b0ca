"""Ray, started late and quietly: a cluster that is there (`RAY_ADDRESS`), or this machine's cores.

Ray schedules parts and carries their arguments and counts; texts and tokens go through files. So its object
store is small here whatever the size of the corpus.

On this machine alone every port of Ray (GCS, raylet, object manager, workers, the agents and their metrics)
listens on the loopback address: whoever reaches one of them can run code here. All of them follow the node's
address, which Ray takes from the network even where it is told 127.0.0.1, unless it is told that it may form
no cluster. Its processes end with this one, however that ends: the raylet, as Ray has it on Linux; the
workers with the raylet, also those that are inside a library and hear no request; and its agents by
`orphans`."""

import logging
import os
import pickle
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import psutil

from data_prep.contract.family import die_with_parent
from data_prep.contract.names import shown
from data_prep.contract.settings import InputError
from data_prep.orphans import watch
from data_prep.parts import Part, Work, do_part

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Whether a node may be one of several: at 0 its address is 127.0.0.1, on Linux too; 1 brings the network's
back."""
OBJECT_STORE_BYTES = 100 << 20
START_TRIES = 5
QUEUED_PARTS = 1000
"""Parts that Ray is handed at once, more where it has more than 250 cores: a worker goes on with the next one
at once, and a cluster that can grow sees what waits."""


class Cluster:
    """Runs parts on Ray. Ray starts with the first part, so where a dataset is done it never starts."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers, self.started = workers, False
        self.watchers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.started:
            import ray

            ray.shutdown()
        for watcher in self.watchers:
            watcher.communicate()

    def execute(self, step: str, work: Work, parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
        """Yield a row for each part as it ends, in any order."""
        self.start()
        import ray.data

        def run(row: dict[str, Any]) -> dict[str, Any]:
            die_with_parent()
            part: Part = pickle.loads(row["part"])
            return do_part(work, part)

        pickled = [{"part": pickle.dumps(part)} for part in parts]
        rows = ray.data.from_items(pickled, override_num_blocks=len(parts))
        run.__name__ = step  # what the dashboard and Ray's own logs call the tasks
        queued = max(QUEUED_PARTS, 4 * int(ray.cluster_resources().get("CPU", 0)))
        mapped = rows.map(run, num_cpus=1, concurrency=min(queued, len(parts)))
        mapped.set_name(step)  # and what it calls the whole
        yield from mapped.iter_rows()

    def start(self) -> None:
        """Start Ray or connect to it, where that has not been done; `InputError` where no cluster answers."""
        if self.started:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        address = os.environ.get("RAY_ADDRESS")
        if not address:
            os.environ.setdefault(LOOPBACK, "0")  # read when Ray is imported
        import ray

        self.started = True
        if ray.is_initialized():
            self.started = False
        elif address:
            try:
                ray.init(address=address, logging_level="ERROR", log_to_driver=False)
            except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
                raise InputError(
                    f"RAY_ADDRESS={shown(address)}: no Ray cluster answers there, or it wants a token "
                    f"(RAY_AUTH_MODE, RAY_AUTH_TOKEN): {shown(str(error))}"
                ) from error
        else:
            self._start_here()
        _configure()

    def _start_here(self) -> None:
        """Start Ray on this machine, again where it was too slow."""
        import ray

        for left in reversed(range(START_TRIES)):
            try:
                ray.init(
                    address="local",  # not another's that happens to run on this machine
                    num_cpus=self.workers,
                    include_dashboard=False,
                    logging_level="ERROR",
                    log_to_driver=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                )
                return
            except Exception as error:  # Ray has no class of its own for it
                if not (left and _is_slow(error)):
                    raise
                _end_half_started()
            finally:  # a Ctrl-C that meets Ray half started leaves agents, too
                self.watchers += watch()


def _is_slow(error: Exception) -> bool:
    """Whether Ray gave its own processes half a minute, which a machine with much else to do exceeds."""
    return "timed out during startup" in str(error)


def _end_half_started() -> None:
    """Kill what Ray has started before it gave up; its agents end with the raylet."""
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if child.name() in ("raylet", "gcs_server"):
                child.kill()


def _configure() -> None:
    """Ray Data without its own words, and without waiting."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Ray Data's budgets are for its object store, where nothing lies here. They would hold all parts but one
    # back in the first second or more of every step, until it has heard how large the cluster is.
    context.op_resource_reservation_enabled = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
