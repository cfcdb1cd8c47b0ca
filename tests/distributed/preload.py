"""What every process of a test world needs, imported once by the server that they are forked from.

Each rank would spend three to four seconds of a core on these imports.
"""

import gc

import torch

import tests.distributed.toy
import tests.launch.cluster.small
import tests.pipeline.conversion.references  # noqa: F401

torch.set_num_threads(1)
gc.freeze()  # ZeRO-3 collects garbage when it starts, and would take three seconds to look through all this
