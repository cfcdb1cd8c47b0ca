"""What every process of a test world needs, imported once by the server that they are forked from."""

import deepspeed  # noqa: F401
import torch

torch.set_num_threads(1)
