"""Processes that do not outlive the one that started them."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends, however that ends; elsewhere nothing happens.

    SIGKILL, since SIGTERM asks a rank to save first, and the same command is to find nothing in its way; a
    process that is inside a library hears nothing else, too.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
