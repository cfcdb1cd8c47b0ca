"""GPUs and the links between them: how long an exchange takes.

Ranks are numbered tensor parallel first, then data parallel, then pipeline; the ranks of a group lie `stride`
apart. With n ranks a ring takes 2 (n - 1) steps for a sum of B bytes and moves 2 (n - 1) / n B through
each link (Patarasuk and Yuan 2009); a tree takes a step for every doubling of hosts (Sanders et al. 2009).
Gathering and scattering take half of a ring.
"""

import math
from dataclasses import dataclass

from pipeline.costs.devices import Device
from pipeline.planning.calibration import (
    ADAPTER_LATENCY,
    ADAPTER_SHARE,
    LINK_LATENCY,
    LINK_SHARE,
    TREE_LATENCY,
)


@dataclass(frozen=True)
class Cluster:
    device: Device
    devices: int

    @property
    def hosts(self) -> int:
        return -(-self.devices // self.device.per_host)

    def inside(self, size: int, stride: int) -> int:
        """Ranks of a group that lie in one host."""
        return max(1, min(size, self.device.per_host // stride))

    def speed(self, size: int, stride: int) -> float:
        """Bytes a second through each link of a ring of so many ranks; the slowest link counts.

        A ring enters and leaves a host by as many adapters as it has members there.
        """
        link = self.device.link * LINK_SHARE
        inside = self.inside(size, stride)
        return link if inside == size else min(link, inside * self.device.adapter * ADAPTER_SHARE)

    def steps(self, size: int, stride: int) -> float:
        """Seconds of latency that a ring's once around takes."""
        inside = self.inside(size, stride)
        hosts = -(-size // inside)
        if hosts == 1:
            return (size - 1) * LINK_LATENCY
        return (size - hosts) * LINK_LATENCY + (hosts - 1) * ADAPTER_LATENCY

    def gather(self, whole: float, size: int, stride: int) -> float:
        """Seconds in which each rank has all of `whole` bytes, or its sum of a share of them."""
        if size == 1:
            return 0.0
        return (size - 1) / size * whole / self.speed(size, stride) + self.steps(size, stride)

    def reduce(self, whole: float, size: int, stride: int) -> float:
        """Seconds in which all ranks have the sum of `whole` bytes, by a ring or a tree."""
        if size == 1:
            return 0.0
        hosts = -(-size // self.inside(size, stride))
        moved = 2 * (size - 1) / size * whole / self.speed(size, stride)
        tree = 2 * (self.inside(size, stride) - 1) * LINK_LATENCY + 2 * math.log2(hosts) * TREE_LATENCY
        return moved + min(2 * self.steps(size, stride), tree if hosts > 1 else math.inf)

    def send(self, size: float, stride: int) -> float:
        """Seconds in which a rank sends `size` bytes to the one `stride` further."""
        far = stride >= self.device.per_host
        speed = self.device.adapter * ADAPTER_SHARE if far else self.device.link * LINK_SHARE
        return size / speed + (ADAPTER_LATENCY if far else LINK_LATENCY)
