"""The parts of the time model against literal formulas."""

import math

import pytest

from pipeline.costs.devices import BY_NAME, DEVICES
from pipeline.planning.calibration import (
    ADAPTER_LATENCY,
    ADAPTER_SHARE,
    LAUNCH,
    LINK_LATENCY,
    LINK_SHARE,
    PROLOGUE,
    STREAM,
    SUSTAINED,
)
from pipeline.planning.cluster import Cluster
from pipeline.planning.kernels import Gpu, Product, filled

A100 = BY_NAME["a100-80"]


def test_a_product_that_fills_every_wave_has_the_best_speed() -> None:
    """108 multiprocessors and tiles of 256 x 128: 12 x 9 of them are one full wave."""
    product = Product(12 * 256, 9 * 128, 4096)
    assert filled(product, 108) == 1.0
    expected = product.flops / (311.9e12 * 0.869 * SUSTAINED * 4096 / (4096 + PROLOGUE))
    assert Gpu(A100).multiply(product) == pytest.approx(expected, rel=1e-12)


def test_one_tile_more_takes_another_wave() -> None:
    """13 x 9 tiles are two waves of which the second is nearly empty; smaller tiles lose less."""
    full, more = Product(12 * 256, 9 * 128, 4096), Product(13 * 256, 9 * 128, 4096)
    assert 117 / 216 < filled(more, 108) < 1.0
    assert Gpu(A100).multiply(more) > 13 / 12 * Gpu(A100).multiply(full)


def test_a_thin_product_is_as_slow_as_memory() -> None:
    product = Product(8192, 8192, 8)
    moved = 2 * (8 * 8192 + 8192 * 8192 + 8 * 8192)
    assert Gpu(A100).multiply(product) == pytest.approx(moved / (2.039e12 * STREAM), rel=1e-12)


def test_nothing_is_faster_than_its_start() -> None:
    assert Gpu(A100).multiply(Product(64, 64, 64)) == LAUNCH


def test_fp8_is_faster_where_there_is_any() -> None:
    product = Product(8192, 8192, 8192)
    h100 = Gpu(BY_NAME["h100"])
    assert 1.6 < h100.multiply(product) / h100.multiply(product, fp8=True) < 2.0
    assert A100.peak("fp8") == 0


def test_a_sum_within_a_host_is_a_ring_of_its_links() -> None:
    cluster = Cluster(A100, 64)
    size = 100e6
    ring = 2 * 7 / 8 * size / (300e9 * LINK_SHARE) + 2 * 7 * LINK_LATENCY
    assert cluster.reduce(size, 8, 1) == pytest.approx(ring, rel=1e-12)
    assert cluster.reduce(size, 1, 1) == 0.0


def test_between_hosts_each_member_brings_its_adapter() -> None:
    """Groups over 4 hosts: with one member in each host one adapter, with all 8 of them eight."""
    cluster = Cluster(A100, 32)
    assert cluster.speed(4, 8) == pytest.approx(25e9 * ADAPTER_SHARE)
    assert cluster.speed(32, 1) == pytest.approx(8 * 25e9 * ADAPTER_SHARE)
    seconds = 31 / 32 * 1e9 / (200e9 * ADAPTER_SHARE) + 28 * LINK_LATENCY + 3 * ADAPTER_LATENCY
    assert cluster.gather(1e9, 32, 1) == pytest.approx(seconds, rel=1e-12)


def test_over_many_hosts_a_tree_is_taken_for_small_sums() -> None:
    """A ring's latency grows with the hosts, a tree's with their logarithm."""
    small, many = Cluster(A100, 256), Cluster(A100, 8192)
    ratio = many.reduce(1e4, 1024, 8) / small.reduce(1e4, 32, 8)
    assert ratio == pytest.approx(math.log2(1024) / math.log2(32), rel=0.05)


def test_every_device_has_what_its_maker_says() -> None:
    for device in DEVICES:
        assert 0 < device.matmul <= 1
        assert device.memory > 20e9
        assert device.link >= device.adapter
        assert device.peak("float16") > 0
        assert device.peak("bfloat16") == device.bfloat16 * device.peak("float16")
