"""Arguments and names that reach other hosts by way of shells, unread by them.

DeepSpeed's launcher hands pdsh one line that a shell on every host reads; it quotes only what has a space in
it, and then so that `$` and backticks are still read. What a user or a file chose therefore goes as one word
of letters and digits, which the process there turns back into the very arguments:

    train.py --packed eyJhcmd1bWVudHMiOiBb...      [...]

Names of hosts become arguments of ssh and pdsh, so they are checked where they come in.
"""

import base64
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_prep.contract.settings import InputError

PACKED = "--packed"
EXPORTED = ("MLFLOW", "MV2", "NCCL", "PYTHON", "UCX")
"""Variables whose names begin so are set on other hosts by DeepSpeed, unquoted."""
SAFE = re.compile(r"[\w@+=:,./-]*", re.ASCII)
HOST = re.compile(r"(?:[A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9_][\w.-]*", re.ASCII)


def is_host(name: str) -> bool:
    """Whether a name can only be understood as a host, or as USER@HOST.

    >>> is_host("node1"), is_host("-oProxyCommand=x"), is_host("^/etc/passwd")
    (True, False, False)
    """
    return HOST.fullmatch(name) is not None


def pack(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Arguments as words that no shell reads, and the environment to start DeepSpeed's launcher in.

    Variables that a shell would read are set by the process that unpacks the arguments; `InputError` where
    Python's own, which has to be there before it starts, would be.
    """
    kept, moved = dict(environment), {}
    for name, value in environment.items():
        if name.startswith(EXPORTED) and not SAFE.fullmatch(value):
            if name.startswith("PYTHON"):
                raise InputError(f"{name} is {value!r}, which a shell on another host would read; change it")
            moved[name] = kept.pop(name)
    plain = json.dumps({"arguments": list(arguments), "environment": moved})
    return [PACKED, base64.urlsafe_b64encode(plain.encode()).decode()], kept


def unpack(arguments: Sequence[str]) -> list[str]:
    """Undo `pack`: the arguments with those that were packed in their place; their variables are set."""
    if PACKED not in arguments:
        return list(arguments)
    place = arguments.index(PACKED)
    plain = json.loads(base64.urlsafe_b64decode(arguments[place + 1]))
    os.environ.update(plain["environment"])
    return [*arguments[:place], *plain["arguments"], *arguments[place + 2 :]]


def check_places(*places: str | Path) -> None:
    """`InputError` where a path that DeepSpeed names on other hosts would be read by their shells."""
    for place in (*places, Path.cwd()):
        if not SAFE.fullmatch(str(place)):
            raise InputError(
                f"{str(place)!r}: shells on other hosts would read this path; a folder whose path has "
                "letters, digits and . _ - alone is expected"
            )
