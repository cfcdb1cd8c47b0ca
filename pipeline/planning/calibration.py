"""The few constants of the time model that no data sheet has, each with its source.

One of them, SUSTAINED, was fitted, to four published steps that `python -m tests.benchmarks.plan` names and
leaves out of its verdict; so were the shares of ZeRO-3's gathers in `engine`. No command reads such runs.
"""

SUSTAINED = 0.85
"""Share of the best measured speed of a matrix product that a training keeps: a GPU at work for hours is
slowed by its power limit, and shapes are not the best one. Fitted: so the four come out right on average."""
STREAM = 0.85
"""Share of a memory's bandwidth that elementwise kernels reach: large copies on an A100 and an H100 reach .85
to .92 of the data sheet."""
PROLOGUE = 96
"""A tile of a product spends as long on its beginning and end as on so many values of the inner dimension."""
LAUNCH = 5e-6
"""The least time of a kernel that a program in Python starts, one after another. An assumption."""
LINK_SHARE = 0.8
"""Share of a link that collectives reach with large payloads: .78 measured within a DGX A100, .82 with H200
(Bekman, Machine Learning Engineering, network)."""
ADAPTER_SHARE = 0.74
"""The same of the network's adapters (the same source: 4 hosts of 8 B200)."""
LINK_LATENCY, ADAPTER_LATENCY = 3.4e-6, 14e-6
"""Seconds of a ring's step within a host and between hosts: what NCCL reckons with (src/graph/tuning.cc,
simple protocol)."""
TREE_LATENCY = 28e-6
"""Seconds of a tree's step between hosts (the same)."""
OPTIMIZER_BYTES = 42
"""Memory traffic of AdamW a parameter: float32 weight, moments and gradient read (16), the first three
written (12), half-precision weight written (2), gradient widened, measured and clipped (12)."""
JITTER = 0.005
"""Relative spread of the time that one host takes for a step; all wait for the slowest. An assumption."""
