"""Less noise from libraries."""

import logging
import os
import warnings


def quieten() -> None:
    """Leave out what libraries tell of themselves: build steps, and optional parts that are not there."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("DS_LOG_LEVEL", "warning")
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="Transformer Engine and Apex are not installed")
    warnings.filterwarnings("ignore", message="When using async grad allreduce")
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
