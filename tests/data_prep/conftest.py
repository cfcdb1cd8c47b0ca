"""Property tests have no deadline: machines that run them are busy, and it is results that are tested."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def bucket() -> Iterator[Any]:
    """The S3 file system of a moto server on loopback, with an empty bucket called `crawl`.

    The environment names the server, so processes that a test starts use it too.
    """
    s3fs = pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        system = s3fs.S3FileSystem(use_listings_cache=False)
        if not system.exists("crawl"):  # moto's buckets belong to the process
            system.mkdir("crawl")
        yield system
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
