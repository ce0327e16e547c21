"""Names: how they are spelled, and the vocabularies of a prepared data set."""
from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Optional, Union

import numpy as np

from .files import Error, MissingRow, array_at, map_file, read_json

Name = Union[str, bytes]

DATA_VERSION = 1  # of a data set's binary files


def to_bytes(name: Name) -> bytes:
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")


def to_str(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def show(name: Name) -> str:
    return ascii(to_str(to_bytes(name)))


def unescape(text: bytes) -> bytes:
    r"""A name as exports spell it: \xHH is the byte HH."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), text)


class Vocabulary:
    """items.bin or users.bin of a prepared data set: names by id, mapped; ids by name from an index made at the first
    question."""

    def __init__(self, data_dir: Path, file: str):
        self.path = data_dir / file
        manifest = read_json(data_dir / "manifest.json")
        memory = map_file(self.path)
        if len(memory) < 64 or bytes(memory[:8]) != b"MGRVDATA":
            raise Error(f"{self.path}: no file of a prepared data set")
        version, kind, fingerprint, n_offsets, n_bytes = struct.unpack_from("<IIQQQ", memory, 8)
        if version != DATA_VERSION or kind != 1:
            raise Error(f"{self.path}: version {version}, kind {kind}; {DATA_VERSION} and 1 are expected")
        if manifest.get("fingerprint") != f"{fingerprint:016x}":
            raise Error(f"{self.path}: belongs to another data set than the manifest.json beside it")
        self.manifest = manifest
        self._offsets = array_at(memory, "<u8", [n_offsets], 64, self.path)
        self._bytes = array_at(memory, "|u1", [n_bytes], 64 + -(-n_offsets * 8 // 64) * 64, self.path)
        self._ids: Optional[dict[bytes, int]] = None

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def at(self, row_id: int) -> bytes:
        if not 0 <= row_id < len(self):
            raise MissingRow(f"{self.path} has no name {row_id}: its ids are below {len(self)}")
        first, end = int(self._offsets[row_id]), int(self._offsets[row_id + 1])
        return self._bytes[first : end - 1].tobytes()

    def find(self, name: Name) -> Optional[int]:
        if self._ids is None:
            self._ids = {self.at(i): i for i in range(1, len(self))}
        return self._ids.get(to_bytes(name))


class NamesOfIds(Sequence):
    """Names of a snapshot's rows, looked up one by one."""

    def __init__(self, vocabulary: Vocabulary, ids: np.ndarray):
        self._vocabulary, self._ids = vocabulary, ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, position):
        if isinstance(position, slice):
            return [to_str(self._vocabulary.at(int(i))) for i in self._ids[position]]
        return to_str(self._vocabulary.at(int(self._ids[position])))
