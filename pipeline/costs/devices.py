"""What GPUs can do by their makers' data sheets, and how much of it matrix products were measured to reach.

Peaks are dense, without sparsity; memory and links are what one process has: a GPU, or one of the two dies of
an MI250X. Sources: NVIDIA's data sheets of the V100 SXM2 32 GB, the A100 SXM4, the H100 SXM5 and PCIe, the
H200, the HGX B200, the L4 and the L40S, and of the DGX systems around them (adapters: DGX-1 4 x 100 Gbit/s,
DGX A100 8 x 200, DGX H100, H200 and B200 8 x 400); AMD's of the Instinct MI250X (with the node of Frontier,
4 x 200 Gbit/s for 8 dies) and of the MI300X (with 8 x 400 Gbit/s).
"""

from dataclasses import dataclass

TERA, GIGA, GIB = 1e12, 1e9, 1 << 30


@dataclass(frozen=True)
class Device:
    """One GPU and its share of the machine around it."""

    name: str
    """As the command line calls it."""
    driver: str
    """Part of the name that the driver gives it."""
    half: float
    """TFLOP/s in bfloat16 or float16."""
    full: float | None
    """TFLOP/s in float32 without TF32, as PyTorch multiplies."""
    memory: float
    """Bytes."""
    bandwidth: float
    """Bytes a second of its memory."""
    units: int
    """Streaming multiprocessors or compute units: how many tiles of a matrix are computed at once."""
    link: float
    """Bytes a second, in one direction, to the other GPUs of its host."""
    adapter: float
    """Bytes a second, in one direction, of the network: its share of the host's adapters."""
    watts: float
    """Board power."""
    matmul: float = 0.75
    """Share of `half` that the best shape of a matrix product reaches.

    Measured ones: Bekman, Machine Learning Engineering, maximum achievable matmul FLOPS (A100, H100, B200,
    MI300X; those of H100 for H200). Where nobody's is known .75 is taken.
    """
    eight: float | None = None
    """TFLOP/s in FP8."""
    matmul_eight: float = 0.709
    """Share of `eight`, from the same source (H100)."""
    per_host: int = 8
    bfloat16: bool = True
    """Whether it multiplies bfloat16 at that speed."""

    def peak(self, precision: str) -> float:
        """FLOP/s in bfloat16, float16, float32 or fp8; 0 where the device has none, or none is known."""
        if precision == "bfloat16" and not self.bfloat16:
            return 0.0
        tera = {"float32": self.full, "fp8": self.eight}.get(precision, self.half)
        return (tera or 0.0) * TERA


DEVICES = (
    Device(
        "b200",
        "B200",
        2250,
        None,
        180 * GIGA,
        8e12,
        148,
        900e9,
        50e9,
        1000,
        0.776,
        eight=4500,
        matmul_eight=0.763,
    ),
    Device(
        "h200",
        "H200",
        989.4,
        66.9,
        141 * GIGA,
        4.8e12,
        132,
        450e9,
        50e9,
        700,
        0.803,
        eight=1978.9,
        matmul_eight=0.734,
    ),
    Device(
        "h100-pcie",
        "H100 PCIe",
        756.5,
        51.2,
        80 * GIB,
        2.0e12,
        114,
        64e9,
        50e9,
        350,
        eight=1513,
    ),
    Device(
        "h100",
        "H100 80GB HBM3",
        989.4,
        66.9,
        80 * GIB,
        3.35e12,
        132,
        450e9,
        50e9,
        700,
        0.803,
        eight=1978.9,
    ),
    Device("a100-80", "A100", 311.9, 19.5, 80 * GIB, 2.039e12, 108, 300e9, 25e9, 400, 0.869),
    Device("a100-40", "A100", 311.9, 19.5, 40 * GIB, 1.555e12, 108, 300e9, 25e9, 400, 0.869),
    Device("l40s", "L40S", 362.0, 91.6, 48 * GIB, 0.864e12, 142, 32e9, 25e9, 350, eight=733),
    Device("l4", "L4", 121.0, 30.3, 24 * GIB, 0.3e12, 58, 32e9, 25e9, 72, eight=242),
    Device("v100", "V100", 125.0, 15.7, 32 * GIB, 0.9e12, 80, 150e9, 6.25e9, 300, bfloat16=False),
    Device("mi250x", "MI250X", 191.5, 47.9, 64 * GIB, 1.638e12, 110, 100e9, 12.5e9, 280),
    Device("mi300x", "MI300X", 1307.4, 163.4, 192 * GIB, 5.3e12, 304, 448e9, 50e9, 750, 0.514, eight=2614.9),
)
BY_NAME = {device.name: device for device in DEVICES}


def by_driver(name: str) -> Device | None:
    """The device that a driver calls by this name; None where it is not in the table.

    >>> by_driver("NVIDIA H100 80GB HBM3").name
    'h100'
    """
    words = name.split()
    for device in DEVICES:
        key = device.driver
        if key in name if " " in key else any(word.split("-")[0] == key for word in words):
            return device
    return None
