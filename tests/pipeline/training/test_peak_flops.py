"""The peak that MFU is measured against."""

import pytest
import torch

from pipeline.training.peak_flops import data_sheet, measure

BF16, FP32 = torch.bfloat16, torch.float32


@pytest.mark.parametrize(
    ("name", "dtype", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", BF16, 989.4),
        ("NVIDIA H100 PCIe", BF16, 756.5),
        ("NVIDIA H200", FP32, 66.9),
        ("NVIDIA A100-SXM4-80GB", BF16, 311.9),
        ("NVIDIA A100 80GB PCIe", FP32, 19.5),
        ("NVIDIA L40S", torch.float16, 362.0),
        ("NVIDIA L4", BF16, 121.0),
        ("AMD Instinct MI300X", BF16, 1307.4),
    ],
)
def test_devices_by_the_name_that_their_driver_gives(name: str, dtype: torch.dtype, tera: float) -> None:
    assert data_sheet(name, dtype) == pytest.approx(tera * 1e12)


@pytest.mark.parametrize("name", ["NVIDIA A10G", "NVIDIA H100 NVL", "NVIDIA L40", "NVIDIA GeForce RTX 4090"])
def test_a_device_that_is_not_in_the_table_has_no_peak(name: str) -> None:
    assert data_sheet(name, BF16) is None


def test_a_cpu_is_measured() -> None:
    """Between a tenth of what one core did in 2005 and a thousand times what one does today."""
    assert 1e9 < measure() < 1e14
