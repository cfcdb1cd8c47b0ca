"""Arrays and archives from outside: what their headers promise is compared with what is there first."""

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Container
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.names import plain_name, printable
from data_prep.contract.opening import Where, called, opened
from data_prep.contract.settings import InputError

UNPACKED_BYTES = 1 << 30
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1
MOST_BYTES = 1 << 62
# NotImplementedError and RecursionError are RuntimeErrors, all that is wrong with Unicode is a ValueError.
NO_HEADER = (
    ValueError,
    TypeError,
    SyntaxError,
    OverflowError,
    tokenize.TokenError,
    RuntimeError,
    MemoryError,
)
NO_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    OSError,
    MemoryError,
)


def read_array(
    source: Path | bytes, kinds: str | np.dtype[Any], ndim: int, where: Where = "", *, mapped: bool = False
) -> NDArray[Any]:
    """The array in a .npy file, of a type that is wanted: exactly this one, or one of these kinds ("iuf").

    `mapped` leaves the values of a path on disk. No pickles; the file must have just the bytes that its
    header says.
    """
    name = called(source, where)
    with opened(source, where) if isinstance(source, Path) else io.BytesIO(source) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        shape, fortran, dtype = _header(file, name)
        start = file.tell()
        _check_array(name, shape, dtype, kinds, ndim)
        if math.prod(shape) * dtype.itemsize != size - start:
            raise InputError(
                f"{name}: {size - start:,} bytes of values where its header says {shape} of {dtype}; "
                "it is cut or damaged"
            )
        order: Any = "F" if fortran else "C"
        if mapped and isinstance(source, Path) and size > start:
            return np.memmap(source, dtype, "r", start, shape, order)
        found = np.empty(shape, dtype, order)
        found.reshape(-1, order="A").view(np.uint8)[:] = np.frombuffer(file.read(), np.uint8)
        return found


def _check_array(
    name: str, shape: tuple[int, ...], dtype: np.dtype[Any], kinds: str | np.dtype[Any], ndim: int
) -> None:
    fits = dtype.kind in kinds if isinstance(kinds, str) else dtype == kinds
    if dtype.hasobject or not dtype.itemsize or not fits or len(shape) != ndim:
        wanted = f"kind {' or '.join(kinds)}" if isinstance(kinds, str) else str(kinds)
        raise InputError(
            f"{name}: an array of {dtype} in {len(shape)} dimensions, where {wanted} in {ndim} is expected"
        )
    if min(shape, default=0) < 0 or math.prod(filter(None, shape)) * dtype.itemsize >= MOST_BYTES:
        raise InputError(f"{name}: an array of the shape {str(shape)[:100]}, which none can have")


def _header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise InputError(f"{name}: version {version} of .npy; versions 1.0 and 2.0 are read")
        shape, fortran, dtype = readers[version](file)
    except InputError:
        raise
    except NO_HEADER as error:
        raise InputError(f"{name}: no NumPy array ({printable(str(error))[:200]})") from None
    return tuple(int(one) for one in shape), bool(fortran), dtype


def open_zip(
    source: Path | bytes,
    where: Where = "",
    *,
    names: Container[str] | None = None,
    limit: int = UNPACKED_BYTES,
) -> dict[str, bytes]:
    """The members of a zip archive by name, those in `names` or all, of `limit` bytes together at most.

    Their sizes are looked at before anything is unpacked. Stored and deflated ones are read.
    """
    name = called(source, where)
    try:
        with (
            opened(source, where) if isinstance(source, Path) else io.BytesIO(source) as file,
            zipfile.ZipFile(file) as packed,
        ):
            members = [one for one in packed.infolist() if names is None or one.filename in names]
            _check_members(members, name, limit)
            return {one.filename: packed.read(one) for one in members if not one.is_dir()}
    except InputError:
        raise
    except NO_ZIP as error:
        raise InputError(f"{name}: no zip archive that can be read ({printable(str(error))[:200]})") from None


def _check_members(members: list[zipfile.ZipInfo], name: str, limit: int) -> None:
    if len({one.filename for one in members}) < len(members):
        raise InputError(f"{name}: a zip archive with two members of one name")
    if sum(one.file_size for one in members) > limit:
        raise InputError(f"{name}: a zip archive of more than {limit:,} bytes unpacked, which is the limit")
    for one in members:
        plain_name(one.filename.removesuffix("/"), name)
        if one.flag_bits & ENCRYPTED:
            raise InputError(f"{name}: {one.filename} is encrypted; one that is not is expected")
        if one.compress_type not in METHODS:
            raise InputError(
                f"{name}: {one.filename} is packed with method {one.compress_type}; "
                "stored or deflated is expected"
            )
