"""Tests mirror the packages. `pipeline` comes first: it decides what DeepSpeed and Megatron-core load."""

import pipeline  # noqa: F401
