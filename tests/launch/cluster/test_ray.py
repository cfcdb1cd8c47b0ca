"""Ray's cluster file: its commands make a cluster of two hosts, on which `ray job submit` prepares data."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_prep.contract.dataset import Dataset
from tests.distributed.hosts import hosts, why_not
from tests.pipeline import tiny

pytest.importorskip("aiohttp_cors", reason="ray[default], which takes jobs, is not installed")
FILE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "launch/cluster/ray.yaml").read_text())
RECIPE = """
corpus: {kind: text, paths: [texts], validation_share: 0.1, document_bytes: 2000}
tokenizer: {kind: bpe, vocabulary_size: 480}
tracking: {enabled: false}
"""


def test_ray_takes_the_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(FILE | {"file_mounts": {}}))
    workers = FILE["provider"]["worker_ips"]
    assert FILE["min_workers"] == FILE["max_workers"] == len(workers)


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_a_submitted_job_prepares_data(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for seed in range(40):
        (tmp_path / "texts" / f"{seed}.txt").write_text("\n\n".join(tiny.sentences(30, seed)))
    (tmp_path / "small.yaml").write_text(RECIPE)
    token = {"RAY_AUTH_TOKEN": "0123456789abcdef" * 2, "RAY_AUTH_MODE": "token", "RAY_TMPDIR": "/run"}
    with hosts(2) as cluster:
        head, worker = cluster.hosts
        for command in FILE["head_start_ray_commands"]:  # the file that is left out is written by `ray up`
            started = command.replace("--autoscaling-config=~/ray_bootstrap_config.yaml", "--num-cpus=0")
            head.check(["bash", "-c", started], token)
        for command in FILE["worker_start_ray_commands"]:
            worker.check(["bash", "-c", command], token | {"RAY_HEAD_IP": head.address})
        deadline = time.monotonic() + 600
        while head.run(["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8265"]).returncode:
            assert time.monotonic() < deadline, "nobody takes jobs"
            time.sleep(0.2)
        job = ["ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--", "bloomery", "prep"]
        printed = head.check([*job, str(tmp_path / "small.yaml"), "--work", str(tmp_path / "work")], token)
        assert "succeeded" in printed
        wrong = head.run(["ray", "job", "list", "--address", "http://127.0.0.1:8265"], {"RAY_TMPDIR": "/run"})
        assert wrong.returncode, "without the token nobody is let in"
    manifest = Dataset(tmp_path / "work" / "dataset").manifest
    assert sum(shard.documents for split in manifest.splits.values() for shard in split.shards) == 40
