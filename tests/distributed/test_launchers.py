"""`deepspeed --hostfile` over hosts: layouts that cross them compute what one process computes."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributed.hosts import Cluster, hosts, why_not
from tests.launch.cluster import small

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with hosts(3) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path) -> Path:
    """A folder with a recipe, and what one process computes of it."""
    made = tmp_path_factory.mktemp("launchers")
    small.recipe(made, tiny_dataset)
    small.train_alone(made)
    return made


@pytest.fixture(autouse=True)
def fresh_work(folder: Path) -> Iterator[None]:
    yield
    shutil.rmtree(folder / "work" / "pretrain", ignore_errors=True)


def layout(tensor: int, pipeline: int, data: int) -> list[str]:
    sizes = {"tensor": tensor, "pipeline": pipeline, "data": data}
    return [word for name, size in sizes.items() for word in ("--set", f"parallel.{name}={size}")]


@pytest.mark.slow
def test_pdsh_with_tensor_pipeline_and_data_groups_across_three_hosts(cluster: Cluster, folder: Path) -> None:
    """Ranks 0-2, 3-5 and 6-7 share hosts: a tensor pair (2, 3), data pairs and stages lie on two hosts."""
    variables = folder / "environment"
    variables.write_text("".join(f"{name}={value}\n" for name, value in small.VARIABLES.items()))
    command = ["deepspeed", "--hostfile", str(cluster.hostfile(3, 3, 2)), "launch/train.py"]
    command += [str(folder / "small.yaml"), "--work", str(folder / "work"), *layout(2, 2, 2)]
    began = time.monotonic()
    cluster.login.check(command, {"DS_ENV_FILE": str(variables)}, cwd=ROOT)
    print(f"pdsh, 8 ranks on 3 hosts: {time.monotonic() - began:.1f} s")
    small.assert_same(folder)


@pytest.mark.slow
def test_ssh_with_tensor_pairs_across_two_hosts(cluster: Cluster, folder: Path) -> None:
    hostfile = folder / "two"
    hostfile.write_text("# two of them\nhost1 slots=1\nhost2 slots=1\n")
    command = ["launch/cluster/ssh.sh", str(hostfile), str(folder / "small.yaml")]
    began = time.monotonic()
    cluster.login.check(
        [*command, "--work", str(folder / "work"), *layout(2, 1, 1)], small.VARIABLES, cwd=ROOT
    )
    print(f"ssh, 2 ranks on 2 hosts: {time.monotonic() - began:.1f} s")
    small.assert_same(folder)


def test_ssh_ends_all_hosts_when_one_fails(cluster: Cluster, folder: Path) -> None:
    """The status is the training's, so that whoever started it can tell bad input from a crash."""
    command = ["launch/cluster/ssh.sh", str(cluster.hostfile()), str(folder / "small.yaml")]
    done = cluster.login.run([*command, "--work", str(folder / "work"), *layout(2, 1, 1)], small.VARIABLES)
    assert done.returncode == 2, done.stdout
    assert "tensor 2 x pipeline 1 x data 1 is 2 processes, but 3 were started" in done.stdout
    deadline = time.monotonic() + 300
    while left := [pid for host in cluster.hosts for pid in host.processes()]:
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_text() for pid in left]
        time.sleep(0.1)
