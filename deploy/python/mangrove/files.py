"""Files and what can be wrong with them."""
from __future__ import annotations

import io
import json
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

import numpy as np

DTYPES = {"F32": "<f4", "F64": "<f8", "U64": "<u8", "I64": "<i8", "U32": "<u4", "I32": "<i4", "U8": "|u1"}
NPY_HEADER_BYTES = 1 << 16  # and more than any of version 1.0


class Error(Exception):
    """A snapshot, an export or a data set is not what it should be; one sentence says which and why."""


class MissingRow(Error, KeyError):
    """No such name, or no row of it."""

    def __str__(self) -> str:
        return str(self.args[0])


@contextmanager
def expecting(path: Path) -> Iterator[None]:
    """What is missing in a manifest, or of another type, is an Error that names the file."""
    try:
        yield
    except Error:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise Error(f"{path}: is not what it should be: {error!r}") from None


def map_file(path: Path) -> memoryview:
    """The whole file, mapped read-only."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
    except OSError as error:
        raise Error(f"cannot open {path}: {error.strerror}") from None


def check_size(path: Path, size: int, source: str) -> None:
    """source: whose word the size is."""
    try:
        found = path.stat().st_size
    except OSError as error:
        raise Error(f"cannot open {path}: {error.strerror}") from None
    if found != size:
        raise Error(f"{path} has {found} bytes, {source} says {size}")


def read_json(path: Path, text: Optional[bytes] = None) -> dict:
    try:
        value = json.loads(path.read_bytes() if text is None else text)
    except OSError as error:
        raise Error(f"cannot open {path}: {error.strerror}") from None
    except ValueError as error:
        raise Error(f"{path}: no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Error(f"{path}: no JSON object")
    return value


def array_at(memory: memoryview, dtype: str, shape: Sequence[int], offset: int, path: Path) -> np.ndarray:
    """A view of mapped bytes, whose bounds are checked."""
    array_bytes = int(np.prod([int(n) for n in shape], dtype=object)) * np.dtype(dtype).itemsize
    if any(n < 0 for n in shape) or not 0 <= offset <= len(memory) - array_bytes:
        raise Error(f"{path}: cut short, or no such file: {array_bytes} bytes at {offset} of {len(memory)}")
    return np.ndarray(tuple(shape), dtype, memory, offset)


def read_safetensors(path: Path, table: str) -> dict[str, np.ndarray]:
    """Every tensor of the safetensors file of a table."""
    memory = map_file(path)
    size = struct.unpack_from("<Q", memory)[0] if len(memory) >= 8 else len(memory)
    if size > len(memory) - 8:
        raise Error(f"{path}: cut short, or no safetensors file")
    header = read_json(path, bytes(memory[8 : 8 + size]))
    metadata = header.pop("__metadata__", None)
    with expecting(path):
        if metadata["table"] != table:
            raise Error(f"{path}: is of table {metadata['table']}")
        return {
            name: array_at(memory, DTYPES[tensor["dtype"]], tensor["shape"], 8 + size + tensor["data_offsets"][0], path)
            for name, tensor in header.items()
        }


def require(tensors: dict[str, np.ndarray], name: str, dtype: str, n_dims: int, path: Path) -> np.ndarray:
    tensor = tensors.get(name)
    if tensor is None or tensor.dtype != np.dtype(dtype) or tensor.ndim != n_dims:
        raise Error(f"{path}: no {n_dims}-dimensional {dtype} tensor '{name}'")
    return tensor


def read_npy(path: Path, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of an .npy file, which must be of this type and shape."""
    memory = map_file(path)
    file = io.BytesIO(memory[:NPY_HEADER_BYTES])
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("its version is not 1.0")
        header = np.lib.format.read_array_header_1_0(file)
    except ValueError as error:
        raise Error(f"{path}: no .npy file: {error}") from None
    if header != (shape, False, np.dtype(dtype)):
        raise Error(f"{path}: {header[2]} of shape {header[0]}; export.json says {np.dtype(dtype)} of shape {shape}")
    array = array_at(memory, dtype, shape, file.tell(), path)
    if file.tell() + array.nbytes != len(memory):
        raise Error(f"{path}: longer than its header says")
    return array
