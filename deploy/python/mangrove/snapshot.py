"""Snapshots: files of several servers and, below an incremental one, of the full one that it goes on from."""
from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Union

import numpy as np

from .files import Error, check_size, expecting, map_file, read_json, read_safetensors, require
from .names import Vocabulary
from .tables import Table, Tables

try:
    import xxhash
except ImportError:
    xxhash = None

SNAPSHOT_VERSIONS = (1, 2)
SPARSE = 0  # a tensor's kind
NAME_FILES = {"item": "items.bin", "user": "users.bin"}  # by what a sparse tensor's rows are
BLOCK_BYTES = 1 << 20  # of a snapshot's file, each with a hash of its own


def _read_manifest(path: Path) -> dict:
    """A snapshot's manifest; its own hash is compared where xxhash is there to compute it."""
    memory = bytes(map_file(path))
    manifest = read_json(path, memory)
    if manifest.get("format") != "mangrove snapshot" or manifest.get("version") not in SNAPSHOT_VERSIONS:
        raise Error(f"{path}: \"{manifest.get('format')}\", version {manifest.get('version')}; "
                    f"\"mangrove snapshot\", version {SNAPSHOT_VERSIONS[-1]} or earlier, is expected")
    text, mark, _ = memory.rpartition(b',\n "hash": "')
    if not mark or (xxhash and xxhash.xxh3_64_hexdigest(text) != manifest.get("hash")):
        raise Error(f"{path}: its text does not have the hash that it ends with")
    return manifest


class _SnapshotFile:
    """A file that a manifest names: its size is checked at once, its blocks by verify()."""

    def __init__(self, directory: Path, entry: dict):
        self.path = directory / entry["file"]
        self.table, self.size, self.n_rows = str(entry["table"]), int(entry["size"]), int(entry["rows"])
        self.blocks = list(entry["blocks"])
        check_size(self.path, self.size, "its manifest")

    def verify(self) -> None:
        memory = map_file(self.path)
        if len(self.blocks) != -(-self.size // BLOCK_BYTES):
            raise Error(f"{self.path}: its manifest has {len(self.blocks)} hashes for {self.size} bytes")
        for i, promised in enumerate(self.blocks):
            if xxhash.xxh3_64_hexdigest(memory[i * BLOCK_BYTES : (i + 1) * BLOCK_BYTES]) != promised:
                raise Error(f"{self.path}: block {i} does not have the hash that the manifest says")

    def open(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids (n) and values (n, width)."""
        tensors = read_safetensors(self.path, self.table)
        ids = require(tensors, "rows", "<u8", 1, self.path)
        values = require(tensors, "values", "<f4", 2, self.path)
        if not len(ids) == len(values) == self.n_rows:
            raise Error(f"{self.path}: {len(ids)} ids and {len(values)} rows, its manifest says {self.n_rows}")
        return ids, values


class SnapshotTables(Tables):
    """A snapshot and, if it is incremental, the full one below it; the newer row of an id counts."""

    def __init__(self, path: Path, data: Union[str, os.PathLike, None], is_verified: bool):
        with expecting(path / "manifest.json"):
            levels = self._chain(path)
        self._levels = [self._files_of(directory, manifest) for directory, manifest in levels]
        super().__init__(path, levels[0][1], sorted({table for files in self._levels for table in files}))
        if is_verified:
            self.verify()
        self._data = data
        self._names: dict[str, Union[Vocabulary, str]] = {}

    @staticmethod
    def _chain(path: Path) -> list[tuple[Path, dict]]:
        """The snapshot, then the full one that an incremental one goes on from."""
        manifest = _read_manifest(path / "manifest.json")
        base = manifest.get("base")
        if base is None:
            return [(path, manifest)]
        if "/" in base["dir"]:
            raise Error(f"{path}/manifest.json: its base is no directory beside it")
        full = path.resolve().parent / base["dir"]
        full_manifest = _read_manifest(full / "manifest.json")
        if full_manifest["hash"] != base["hash"] or full_manifest.get("base"):
            raise Error(f"{full} is not the full snapshot that {path} goes on from")
        return [(path, manifest), (full, full_manifest)]

    @staticmethod
    def _files_of(directory: Path, manifest: dict) -> dict[str, list[_SnapshotFile]]:
        files: dict[str, list[_SnapshotFile]] = {}
        with expecting(directory / "manifest.json"):
            for entry in manifest["files"]:
                files.setdefault(entry["table"], []).append(_SnapshotFile(directory, entry))
        return files

    def verify(self) -> None:
        """Compares every block of every file with its hash. Needs the module xxhash."""
        if xxhash is None:
            raise Error("verify needs the module xxhash (python3-xxhash); or run: mangrove verify")
        for files in self._levels:
            for of_table in files.values():
                for file in of_table:
                    file.verify()

    def _open(self, name: str) -> Table:
        all_ids, parts, levels = [], [], []
        with expecting(self.path / "manifest.json"):
            names = self._names_of(name)
        for level, files in enumerate(self._levels):  # newest first
            for file in files.get(name, []):
                ids, values = file.open()
                all_ids.append(ids), parts.append(values), levels.append(level)
        if len({part.shape[1] for part in parts}) > 1:
            raise Error(f"{self.path}: rows of table {name} differ in width")
        for level in set(levels):
            of_level = [ids for ids, its in zip(all_ids, levels) if its == level]
            if len(np.unique(np.concatenate(of_level))) != sum(len(ids) for ids in of_level):
                raise Error(f"{self.path}: holds a row of table {name} twice")
        if len(parts) == 1:
            return Table(name, parts, None, all_ids[0], names)
        ids, where = np.unique(np.concatenate(all_ids), return_index=True)  # the first of equals: the newest
        return Table(name, parts, where, ids, names)

    def _names_of(self, table: str) -> Union[Vocabulary, str]:
        """A sparse tensor is named after what its rows are, as in item.A; its table by the last part or the whole."""
        for tensor in self.manifest["tensors"]:
            kind, _, rest = tensor["name"].partition(".")
            if tensor["kind"] == SPARSE and kind in NAME_FILES and table in (rest, tensor["name"]):
                if kind not in self._names:
                    self._names[kind] = self._find_names(NAME_FILES[kind])
                return self._names[kind]
        return "its rows are neither items nor users"

    def _find_names(self, file: str) -> Union[Vocabulary, str]:
        """The data set that was named must fit; the training's own is taken if it is there and fits."""
        quoted = re.search(r'^data:\n  dir: (".*")$', self.manifest["config"], re.MULTILINE)
        directory = Path(self._data if self._data is not None else json.loads(quoted[1]) if quoted else "")
        try:
            vocabulary = Vocabulary(directory, file)
            self._check_ids(vocabulary)
            return vocabulary
        except Error as error:
            if self._data is not None:
                raise
            return f"{error}; name the prepared data set: mangrove.open(..., data=DIR)"

    def _check_ids(self, vocabulary: Vocabulary) -> None:
        """Ids mean the same in the training's data set and in those that it grew from or that grew from it."""
        trained, found = json.loads(self.manifest["data"]), vocabulary.manifest
        if found["fingerprint"] not in (trained["fingerprint"], *trained.get("lineage", [])) and trained[
            "fingerprint"
        ] not in found.get("lineage", []):
            raise Error(f"{vocabulary.path} is of the data set {found['fingerprint']}; {self.path} was trained on "
                        f"{trained['fingerprint']}, whose ids differ")


def newest_snapshot(run_dir: Path) -> Path:
    """By epoch and step; a snapshot at an epoch's end comes after those within it."""
    found = []
    for path in (run_dir / "snapshots").glob("epoch-*"):
        parts = re.fullmatch(r"epoch-(\d+)(?:-step-(\d+))?", path.name)
        if parts and (path / "manifest.json").exists():
            found.append((int(parts[1]), parts[2] is None, int(parts[2] or 0), path))
    if not found:
        raise Error(f"{run_dir} is neither a snapshot, nor an export, nor a run with a snapshot")
    return max(found)[-1]
