"""Exports: what `mangrove export` wrote."""
from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from .files import Error, check_size, expecting, map_file, read_json, read_npy, read_safetensors, require
from .names import to_str, unescape
from .tables import Table, Tables

EXPORT_VERSIONS = (1, 2)
SUMMED_AT_OPENING = (".ids.npy", ".names.txt", ".vec", ".tsv")  # small beside the values, or read whole anyway


class _ExportFile:
    """A file that export.json names, with its size and sum."""

    def __init__(self, directory: Path, entry: dict):
        self.path = directory / entry["file"]
        self.size, self.crc32 = int(entry["bytes"]), int(entry["crc32"], 16)

    def check(self) -> None:
        """What costs little: the size, and the sum where the file is small."""
        check_size(self.path, self.size, "export.json")
        if self.path.name.endswith(SUMMED_AT_OPENING):
            self.verify()

    def verify(self) -> None:
        check_size(self.path, self.size, "export.json")
        if zlib.crc32(map_file(self.path)) != self.crc32:
            raise Error(f"{self.path}: does not have the CRC-32 that export.json says")


class ExportTables(Tables):
    """The tables of an export. The text formats are read into memory."""

    def __init__(self, path: Path, is_verified: bool):
        manifest = read_json(path / "export.json")
        if manifest.get("format") != "mangrove export" or manifest.get("version") not in EXPORT_VERSIONS:
            raise Error(f"{path}/export.json: \"{manifest.get('format')}\", version {manifest.get('version')}; "
                        f"\"mangrove export\", version {EXPORT_VERSIONS[-1]} or earlier, is expected")
        with expecting(path / "export.json"):
            self._read = READERS[manifest["to"]]
            self._shapes = {str(e["table"]): (int(e["rows"]), int(e["width"])) for e in manifest["tables"]}
            self._files = {} if manifest["version"] == 1 else {
                str(e["table"]): [_ExportFile(path, file) for file in e["files"]] for e in manifest["tables"]}
        super().__init__(path, manifest, self._shapes)
        if is_verified:
            self.verify()

    def verify(self) -> None:
        """Compares every byte of every file with its sum."""
        if self.manifest["version"] == 1:
            raise Error(f"{self.path}: was written without sums that could be verified: export it again")
        for files in self._files.values():
            for file in files:
                file.verify()

    def _open(self, name: str) -> Table:
        for file in self._files.get(name, []):
            file.check()
        values, ids, names = self._read(self.path, name, self._shapes[name])
        if len(names) != len(values):
            raise Error(f"{self.path}: table {name} has {len(values)} rows and {len(names)} names")
        return Table(name, [values], None, ids, names)


def _read_names(directory: Path, name: str) -> list[str]:
    lines = bytes(map_file(directory / f"{name}.names.txt")).split(b"\n")
    return [to_str(unescape(line)) for line in lines[:-1]]


# Values, ids (None: the format has none) and names of a table, whose values must be of this shape.


def _read_npy_files(directory: Path, name: str, shape: tuple[int, int]):
    values = read_npy(directory / f"{name}.npy", "<f4", shape)
    return values, read_npy(directory / f"{name}.ids.npy", "<u8", shape[:1]), _read_names(directory, name)


def _read_tensors(directory: Path, name: str, shape: tuple[int, int]):
    path = directory / f"{name}.safetensors"
    tensors = read_safetensors(path, name)
    values, ids = require(tensors, "values", "<f4", 2, path), require(tensors, "ids", "<u8", 1, path)
    if values.shape != shape or ids.shape != shape[:1]:
        raise Error(f"{path}: values {values.shape} and ids {ids.shape}; export.json says {shape} and {shape[:1]}")
    return values, ids, _read_names(directory, name)


def _read_lines(path: Path, separator: bytes, n_skipped: int, shape: tuple[int, int]):
    lines = bytes(map_file(path)).split(b"\n")[n_skipped:-1]
    if len(lines) != shape[0]:
        raise Error(f"{path}: {len(lines)} rows, export.json says {shape[0]}")
    names, values = [], np.empty(shape, np.float32)
    for i, line in enumerate(lines):
        text, *numbers = line.split(separator)
        if len(numbers) != shape[1]:
            raise Error(f"{path}: row {i} has {len(numbers)} values, export.json says {shape[1]}")
        names.append(to_str(unescape(text)))
        with expecting(path):
            values[i] = [float(x) for x in numbers]
    values.flags.writeable = False
    return values, None, names


READERS = {
    "npy": _read_npy_files,
    "safetensors": _read_tensors,
    "vec": lambda directory, name, shape: _read_lines(directory / f"{name}.vec", b" ", 1, shape),
    "tsv": lambda directory, name, shape: _read_lines(directory / f"{name}.tsv", b"\t", 0, shape),
}
