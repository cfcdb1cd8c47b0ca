"""The Kubernetes files hold together, and their commands are ones that run."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from launch.cli import app
from tests.distributed.processes import free_port
from tests.launch.cluster import small

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "launch" / "cluster" / "kubernetes"
Document = dict[str, Any]


def documents() -> dict[tuple[str, str], Document]:
    """Every object of the files, by kind and name."""
    found = [one for path in sorted(FOLDER.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def pods() -> dict[str, Document]:
    """The specification of every kind of pod."""
    objects = documents()
    cluster = objects["RayCluster", "bloomery"]["spec"]
    job = objects["Job", "bloomery-train"]["spec"]
    return {
        "head": cluster["headGroupSpec"]["template"]["spec"],
        "worker": cluster["workerGroupSpecs"][0]["template"]["spec"],
        "train": job["template"]["spec"],
    }


@pytest.mark.parametrize("name", ["head", "worker", "train"])
def test_a_pod_names_what_is_there(name: str) -> None:
    pod = pods()[name]
    [container] = pod["containers"]
    image, version = container["image"].split(":")
    assert (ROOT / "docker" / f"{image.removeprefix('bloomery-')}.Dockerfile").is_file()
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    claim = volumes["shared"]["persistentVolumeClaim"]["claimName"]
    assert documents()["PersistentVolumeClaim", claim]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_ray_job_finds_its_cluster_and_its_command() -> None:
    objects = documents()
    job, cluster = objects["RayJob", "bloomery-prep"]["spec"], objects["RayCluster", "bloomery"]
    assert job["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    assert f"ray=={cluster['spec']['rayVersion']}\n" in (ROOT / "constraints.txt").read_text()
    group = cluster["spec"]["workerGroupSpecs"][0]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    program, command, recipe, *options = shlex.split(job["entrypoint"])
    assert program == "bloomery"
    assert command in {one.name or one.callback.__name__ for one in app.registered_commands}
    assert recipe.startswith("/shared/")
    assert options[0] == "--work"


def test_the_training_pods_find_the_first() -> None:
    objects = documents()
    job, service = objects["Job", "bloomery-train"], objects["Service", "bloomery-train"]
    pod = job["spec"]["template"]
    command = pod["spec"]["containers"][0]["command"]
    name, subdomain = job["metadata"]["name"], pod["spec"]["subdomain"]
    assert service["metadata"]["name"] == subdomain
    assert service["spec"]["clusterIP"] == "None", "headless, so that each pod has a name"
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert f"--master-addr={name}-0.{subdomain}" in command
    port = service["spec"]["ports"][0]["port"]
    assert f"--master-port={port}" in command
    assert pod["spec"]["containers"][0]["ports"][0]["containerPort"] == port
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert command[1] == f"--nnodes={spec['completions']}" == f"--nnodes={spec['parallelism']}"
    gpus = pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    assert f"--nproc-per-node={gpus}" in command


def test_the_training_command_trains(tmp_path: Path, tiny_dataset: Path) -> None:
    """Two "pods" of one rank each on this machine, from the file's command with places and sizes put in."""
    recipe = small.recipe(tmp_path, tiny_dataset)
    changes = {
        "--nproc-per-node=8": "--nproc-per-node=1",
        "--master-addr=bloomery-train-0.bloomery-train": "--master-addr=127.0.0.1",
        "--master-port=29500": f"--master-port={free_port()}",
        "/opt/bloomery/launch/train.py": str(ROOT / "launch" / "train.py"),
        "/shared/recipe.yaml": str(recipe),
        "--work=/shared/runs/big": f"--work={tmp_path / 'work'}",
    }
    written = pods()["train"]["containers"][0]["command"]
    assert set(changes) <= set(written)
    command = [changes.get(word, word) for word in written] + ["--set", "parallel.tensor=2"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    started = [
        subprocess.Popen(
            [word.replace("$(JOB_COMPLETION_INDEX)", str(index)) for word in command],
            env={**os.environ, **small.VARIABLES, "PATH": path},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for index in range(2)
    ]
    first = started[0].communicate(timeout=900)[0]
    if started[0].returncode:
        started[1].kill()  # it would wait for the other
    printed = [first, started[1].communicate(timeout=900)[0]]
    assert [pod.returncode for pod in started] == [0, 0], "\n".join(printed)
    small.train_alone(tmp_path)
    small.assert_same(tmp_path)
