"""Reads mangrove's snapshots and exports with NumPy alone; tables stay on the disk, memory-mapped.

    import mangrove
    tables = mangrove.open("runs/quickstart")       # a run (its newest snapshot), a snapshot, or an export
    vector = tables["A"]["B000FIS9PU"]              # (width) float32, a read-only view of the file
    matrix = tables["A"].rows(["B000FIS9PU", ...])  # (k, width) float32, a copy

Names of a snapshot's rows come from the prepared data set: from `data`, or else from the directory that the training
read, if it is still there. Names that are not UTF-8 are str with surrogate escapes; bytes are accepted wherever a name
is. A row that was never trained is in no snapshot: KeyError.

What is checked: sizes, types and shapes of every file that is opened, and that an incremental snapshot's base is the
one it was made from. Contents are checked where the module `xxhash` can be imported (python3-xxhash): the manifest's
own hash always, every block of every file with verify=True. `mangrove verify` needs no Python.
"""
from __future__ import annotations

import json
import mmap
import os
import re
import struct
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Optional, Union

import numpy as np

try:
    import xxhash
except ImportError:
    xxhash = None

__all__ = ["Error", "MissingRow", "Table", "Tables", "open"]

Name = Union[str, bytes]

SNAPSHOT_VERSIONS = (1, 2)
EXPORT_VERSIONS = (1,)
DATA_VERSION = 1  # of a data set's binary files
SPARSE = 0  # a tensor's kind
NAME_FILES = {"item": "items.bin", "user": "users.bin"}  # by what a sparse tensor's rows are
BLOCK_BYTES = 1 << 20  # of a snapshot's file, each with a hash of its own
DTYPES = {"F32": "<f4", "F64": "<f8", "U64": "<u8", "I64": "<i8", "U32": "<u4", "I32": "<i4", "U8": "|u1"}


class Error(Exception):
    """A snapshot, an export or a data set is not what it should be; one sentence says which and why."""


class MissingRow(Error, KeyError):
    """No such name, or no row of it."""

    def __str__(self) -> str:
        return str(self.args[0])


# ---- files ------------------------------------------------------------------------------------------------------


def _map(path: Path) -> memoryview:
    """The whole file, mapped read-only."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
    except OSError as error:
        raise Error(f"cannot open {path}: {error.strerror}") from None


def _read_json(path: Path, text: Optional[bytes] = None) -> dict:
    try:
        value = json.loads(path.read_bytes() if text is None else text)
    except OSError as error:
        raise Error(f"cannot open {path}: {error.strerror}") from None
    except ValueError as error:
        raise Error(f"{path}: no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Error(f"{path}: no JSON object")
    return value


def _array(memory: memoryview, dtype: str, shape: Sequence[int], offset: int, path: Path) -> np.ndarray:
    """A view of mapped bytes, whose bounds are checked."""
    array_bytes = int(np.prod([int(n) for n in shape], dtype=object)) * np.dtype(dtype).itemsize
    if any(n < 0 for n in shape) or not 0 <= offset <= len(memory) - array_bytes:
        raise Error(f"{path}: cut short, or no such file: {array_bytes} bytes at {offset} of {len(memory)}")
    return np.ndarray(tuple(shape), dtype, memory, offset)


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a safetensors file."""
    memory = _map(path)
    size = struct.unpack_from("<Q", memory)[0] if len(memory) >= 8 else len(memory)
    if size > len(memory) - 8:
        raise Error(f"{path}: cut short, or no safetensors file")
    header = _read_json(path, bytes(memory[8 : 8 + size]))
    header.pop("__metadata__", None)
    try:
        return {
            name: _array(memory, DTYPES[tensor["dtype"]], tensor["shape"], 8 + size + tensor["data_offsets"][0], path)
            for name, tensor in header.items()
        }
    except (KeyError, TypeError, IndexError) as error:
        raise Error(f"{path}: its header is not what it should be: {error!r}") from None


def _require(tensors: dict[str, np.ndarray], name: str, dtype: str, n_dims: int, path: Path) -> np.ndarray:
    tensor = tensors.get(name)
    if tensor is None or tensor.dtype != np.dtype(dtype) or tensor.ndim != n_dims:
        raise Error(f"{path}: no {n_dims}-dimensional {dtype} tensor '{name}'")
    return tensor


# ---- names ------------------------------------------------------------------------------------------------------


def _to_bytes(name: Name) -> bytes:
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")


def _to_str(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _show(name: Name) -> str:
    return ascii(_to_str(_to_bytes(name)))


def _unescape(text: bytes) -> bytes:
    r"""A name as exports spell it: \xHH is the byte HH."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), text)


class _Vocabulary:
    """items.bin or users.bin of a prepared data set: names by id, mapped; ids by name from an index made at the first
    question."""

    def __init__(self, data_dir: Path, file: str):
        self.path = data_dir / file
        manifest = _read_json(data_dir / "manifest.json")
        memory = _map(self.path)
        if len(memory) < 64 or bytes(memory[:8]) != b"MGRVDATA":
            raise Error(f"{self.path}: no file of a prepared data set")
        version, kind, fingerprint, n_offsets, n_bytes = struct.unpack_from("<IIQQQ", memory, 8)
        if version != DATA_VERSION or kind != 1:
            raise Error(f"{self.path}: version {version}, kind {kind}; {DATA_VERSION} and 1 are expected")
        if manifest.get("fingerprint") != f"{fingerprint:016x}":
            raise Error(f"{self.path}: belongs to another data set than the manifest.json beside it")
        self.manifest = manifest
        self._offsets = _array(memory, "<u8", [n_offsets], 64, self.path)
        self._bytes = _array(memory, "|u1", [n_bytes], 64 + -(-n_offsets * 8 // 64) * 64, self.path)
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
        return self._ids.get(_to_bytes(name))


class _NamesOfIds(Sequence):
    """Names of a snapshot's rows, looked up one by one."""

    def __init__(self, vocabulary: _Vocabulary, ids: np.ndarray):
        self._vocabulary, self._ids = vocabulary, ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, position):
        if isinstance(position, slice):
            return [_to_str(self._vocabulary.at(int(i))) for i in self._ids[position]]
        return _to_str(self._vocabulary.at(int(self._ids[position])))


# ---- tables -----------------------------------------------------------------------------------------------------


class Table:
    """Rows with names and ids, in one order: of the file where one file holds them all, else by ascending id.

    `parts` are mapped arrays (n, width); position i of the table is row `where[i]` of their concatenation (None: the
    same). Of names and ids one may be missing; then questions that need them raise Error."""

    def __init__(self, name: str, parts: list[np.ndarray], where: Optional[np.ndarray] = None,
                 ids: Optional[np.ndarray] = None, names: Union[list[str], _Vocabulary, str] = ""):
        self.name = name
        self.width = parts[0].shape[1]
        self._parts = parts
        self._starts = np.cumsum([0] + [len(p) for p in parts])
        self._where = where
        self._ids = ids
        self._names = names  # a str says why there are none
        self._id_order: Optional[np.ndarray] = None
        self._positions: Optional[dict[bytes, int]] = None

    def __repr__(self) -> str:
        return f"<mangrove table {self.name}: {len(self)} rows of {self.width}>"

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._where is None else len(self._where)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, (str, bytes)) and self._find(name) is not None

    def __getitem__(self, name: Name) -> np.ndarray:
        """The named row: (width) float32, a read-only view."""
        return self._vector(self.position(name))

    @property
    def ids(self) -> np.ndarray:
        """(n) uint64: each row's id in the data set."""
        if self._ids is None:
            raise Error(f"table {self.name} holds no ids: export it --to npy or safetensors")
        return self._ids

    @property
    def names(self) -> Sequence[str]:
        """Each row's name."""
        if isinstance(self._names, str):
            raise Error(f"table {self.name} has no names: {self._names}")
        return _NamesOfIds(self._names, self.ids) if isinstance(self._names, _Vocabulary) else self._names

    @property
    def values(self) -> np.ndarray:
        """(n, width) float32, mapped, where one array holds the rows; else an Error that says what to do."""
        if len(self._parts) > 1:
            raise Error(f"the rows of table {self.name} stand in {len(self._parts)} files: "
                        "copy them with rows(), or use mangrove export")
        return self._parts[0]

    def rows(self, names: Optional[Iterable[Name]] = None) -> np.ndarray:
        """A copy of the named rows, (k, width) float32, in the order of names; without names of all, in the table's."""
        if names is None:
            return self._gather(np.arange(len(self)))
        return self._gather(np.array([self.position(name) for name in names], np.int64))

    def row(self, row_id: int) -> np.ndarray:
        """The row of an id: (width) float32, a read-only view."""
        position = self._position_of_id(row_id)
        if position is None:
            raise MissingRow(f"table {self.name} has no row {row_id}")
        return self._vector(position)

    def position(self, name: Name) -> int:
        """Where the named row stands in names, ids, values and rows()."""
        position = self._find(name)
        if position is not None:
            return position
        if isinstance(self._names, _Vocabulary) and self._names.find(name) is None:
            raise MissingRow(f"{self._names.path} has no item {_show(name)}")
        raise MissingRow(f"table {self.name} has no row of {_show(name)}")

    def _find(self, name: Name) -> Optional[int]:
        if isinstance(self._names, _Vocabulary):
            row_id = self._names.find(name)
            return None if row_id is None else self._position_of_id(row_id)
        if self._positions is None:
            self._positions = {_to_bytes(known): i for i, known in enumerate(self.names)}
        return self._positions.get(_to_bytes(name))

    def _position_of_id(self, row_id: int) -> Optional[int]:
        if self._id_order is None:
            self._id_order = np.argsort(self.ids, kind="stable")
        if row_id < 0:
            return None
        place = int(np.searchsorted(self.ids, np.uint64(row_id), sorter=self._id_order))
        if place == len(self) or self.ids[self._id_order[place]] != row_id:
            return None
        return int(self._id_order[place])

    def _vector(self, position: int) -> np.ndarray:
        row = position if self._where is None else int(self._where[position])
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._parts[part][row - int(self._starts[part])]

    def _gather(self, positions: np.ndarray) -> np.ndarray:
        rows = positions if self._where is None else self._where[positions]
        out = np.empty((len(rows), self.width), np.float32)
        for part, first, end in zip(self._parts, self._starts, self._starts[1:]):
            is_here = (first <= rows) & (rows < end)
            out[is_here] = part[rows[is_here] - first]
        return out


class Tables(Mapping):
    """The tables of a snapshot or an export by name, each opened when it is first asked for.

    `path` is the directory they are read from, `manifest` its manifest."""

    def __init__(self, path: Path, manifest: dict, names: Iterable[str]):
        self.path, self.manifest = path, manifest
        self._tables: dict[str, Optional[Table]] = dict.fromkeys(names)

    def __repr__(self) -> str:
        return f"<mangrove tables of {self.path}: {', '.join(self)}>"

    def __len__(self) -> int:
        return len(self._tables)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __contains__(self, name: object) -> bool:
        return name in self._tables

    def __getitem__(self, name: str) -> Table:
        if name not in self._tables:
            raise MissingRow(f"{self.path} has no table {name!r}; it has {', '.join(self)}")
        table = self._tables[name]
        if table is None:
            table = self._tables[name] = self._open(name)
        return table

    @abstractmethod
    def _open(self, name: str) -> Table:
        """Opens a table that is there."""


# ---- snapshots --------------------------------------------------------------------------------------------------


def _read_manifest(path: Path) -> dict:
    """A snapshot's manifest; its own hash is compared where xxhash is there to compute it."""
    memory = bytes(_map(path))
    manifest = _read_json(path, memory)
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
        self.path, self.entry = directory / entry["file"], entry
        try:
            found = self.path.stat().st_size
        except OSError as error:
            raise Error(f"cannot open {self.path}: {error.strerror}") from None
        if found != entry["size"]:
            raise Error(f"{self.path} has {found} bytes, its manifest says {entry['size']}")

    def verify(self) -> None:
        memory = _map(self.path)
        for i, promised in enumerate(self.entry["blocks"]):
            if xxhash.xxh3_64_hexdigest(memory[i * BLOCK_BYTES : (i + 1) * BLOCK_BYTES]) != promised:
                raise Error(f"{self.path}: block {i} does not have the hash that the manifest says")

    def open(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids (n) and values (n, width)."""
        tensors = _safetensors(self.path)
        ids = _require(tensors, "rows", "<u8", 1, self.path)
        values = _require(tensors, "values", "<f4", 2, self.path)
        if not len(ids) == len(values) == self.entry["rows"]:
            raise Error(f"{self.path}: {len(ids)} ids and {len(values)} rows, its manifest says {self.entry['rows']}")
        return ids, values


class _Snapshot(Tables):
    """A snapshot and, if it is incremental, the full one below it; the newer row of an id counts."""

    def __init__(self, path: Path, data: Union[str, os.PathLike, None], is_verified: bool):
        levels = self._chain(path)
        self._levels: list[dict[str, list[_SnapshotFile]]] = []
        for directory, manifest in levels:
            files: dict[str, list[_SnapshotFile]] = {}
            for entry in manifest["files"]:
                files.setdefault(entry["table"], []).append(_SnapshotFile(directory, entry))
            self._levels.append(files)
        super().__init__(path, levels[0][1], sorted({table for files in self._levels for table in files}))
        if is_verified:
            self.verify()
        self._data = data
        self._names: dict[str, Union[_Vocabulary, str]] = {}

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
        for level, files in enumerate(self._levels):  # newest first
            for file in files.get(name, []):
                ids, values = file.open()
                all_ids.append(ids), parts.append(values), levels.append(level)
        for level in set(levels):
            of_level = [ids for ids, its in zip(all_ids, levels) if its == level]
            if len(np.unique(np.concatenate(of_level))) != sum(len(ids) for ids in of_level):
                raise Error(f"{self.path}: holds a row of table {name} twice")
        if len(parts) == 1:
            return Table(name, parts, None, all_ids[0], self._names_of(name))
        ids, where = np.unique(np.concatenate(all_ids), return_index=True)  # the first of equals: the newest
        return Table(name, parts, where, ids, self._names_of(name))

    def _names_of(self, table: str) -> Union[_Vocabulary, str]:
        """A sparse tensor is named after what its rows are, as in item.A; its table by the last part or the whole."""
        for tensor in self.manifest["tensors"]:
            kind, _, rest = tensor["name"].partition(".")
            if tensor["kind"] == SPARSE and kind in NAME_FILES and table in (rest, tensor["name"]):
                if kind not in self._names:
                    self._names[kind] = self._find_names(NAME_FILES[kind])
                return self._names[kind]
        return "its rows are neither items nor users"

    def _find_names(self, file: str) -> Union[_Vocabulary, str]:
        """The data set that was named must fit; the training's own is taken if it is there and fits."""
        quoted = re.search(r'^data:\n  dir: (".*")$', self.manifest["config"], re.MULTILINE)
        directory = Path(self._data if self._data is not None else json.loads(quoted[1]) if quoted else "")
        try:
            vocabulary = _Vocabulary(directory, file)
            self._check_ids(vocabulary)
            return vocabulary
        except Error as error:
            if self._data is not None:
                raise
            return f"{error}; name the prepared data set: mangrove.open(..., data=DIR)"

    def _check_ids(self, vocabulary: _Vocabulary) -> None:
        """Ids mean the same in the training's data set and in those that it grew from or that grew from it."""
        trained, found = json.loads(self.manifest["data"]), vocabulary.manifest
        if found["fingerprint"] not in (trained["fingerprint"], *trained.get("lineage", [])) and trained[
            "fingerprint"
        ] not in found.get("lineage", []):
            raise Error(f"{vocabulary.path} is of the data set {found['fingerprint']}; {self.path} was trained on "
                        f"{trained['fingerprint']}, whose ids differ")


# ---- exports ----------------------------------------------------------------------------------------------------


class _Export(Tables):
    """What `mangrove export` wrote. The text formats are read into memory."""

    def __init__(self, path: Path):
        manifest = _read_json(path / "export.json")
        if manifest.get("format") != "mangrove export" or manifest.get("version") not in EXPORT_VERSIONS:
            raise Error(f"{path}/export.json: \"{manifest.get('format')}\", version {manifest.get('version')}; "
                        f"\"mangrove export\", version {EXPORT_VERSIONS[-1]}, is expected")
        self._entries = {entry["table"]: entry for entry in manifest["tables"]}
        super().__init__(path, manifest, self._entries)

    def _open(self, name: str) -> Table:
        readers = {"npy": self._open_npy, "safetensors": self._open_safetensors, "vec": self._open_text,
                   "tsv": self._open_text}
        table = readers[self.manifest["to"]](name)
        expected = self._entries[name]
        if (len(table), table.width, len(table.names)) != (expected["rows"], expected["width"], expected["rows"]):
            raise Error(f"{self.path}: table {name} is {len(table)} rows of {table.width} with {len(table.names)} "
                        f"names, export.json says {expected['rows']} of {expected['width']}")
        return table

    def _open_npy(self, name: str) -> Table:
        arrays = []
        for path in (self.path / f"{name}.npy", self.path / f"{name}.ids.npy"):
            try:
                arrays.append(np.load(path, mmap_mode="r" if path.stat().st_size > 128 else None))
            except (OSError, ValueError) as error:
                raise Error(f"cannot read {path}: {error}") from None
        return Table(name, [arrays[0]], None, arrays[1], self._read_names(name))

    def _open_safetensors(self, name: str) -> Table:
        path = self.path / f"{name}.safetensors"
        tensors = _safetensors(path)
        return Table(name, [_require(tensors, "values", "<f4", 2, path)], None,
                     _require(tensors, "ids", "<u8", 1, path), self._read_names(name))

    def _read_names(self, name: str) -> list[str]:
        lines = bytes(_map(self.path / f"{name}.names.txt")).split(b"\n")
        return [_to_str(_unescape(line)) for line in lines[:-1]]

    def _open_text(self, name: str) -> Table:
        kind, expected = self.manifest["to"], self._entries[name]
        path = self.path / f"{name}.{kind}"
        lines = bytes(_map(path)).split(b"\n")[1 if kind == "vec" else 0 : -1]
        names, values = [], np.empty((len(lines), expected["width"]), np.float32)
        for i, line in enumerate(lines):
            text, *numbers = line.split(b" " if kind == "vec" else b"\t")
            if len(numbers) != expected["width"]:
                raise Error(f"{path}: row {i} has {len(numbers)} values, export.json says {expected['width']}")
            names.append(_to_str(_unescape(text)))
            values[i] = [float(x) for x in numbers]
        values.flags.writeable = False
        return Table(name, [values], None, None, names)


# ---- opening ----------------------------------------------------------------------------------------------------


def _newest_snapshot(run_dir: Path) -> Path:
    """By epoch and step; a snapshot at an epoch's end comes after those within it."""
    found = []
    for path in (run_dir / "snapshots").glob("epoch-*"):
        parts = re.fullmatch(r"epoch-(\d+)(?:-step-(\d+))?", path.name)
        if parts and (path / "manifest.json").exists():
            found.append((int(parts[1]), parts[2] is None, int(parts[2] or 0), path))
    if not found:
        raise Error(f"{run_dir} is neither a snapshot, nor an export, nor a run with a snapshot")
    return max(found)[-1]


def open(path: Union[str, os.PathLike], data: Union[str, os.PathLike, None] = None, verify: bool = False) -> Tables:
    """Opens a run's newest snapshot, a snapshot, or an export.

    data: the prepared data set that a snapshot was trained on. verify: compare every block of a snapshot's files with
    its hash first (needs xxhash)."""
    directory = Path(path)
    if (directory / "export.json").exists():
        return _Export(directory)
    if not (directory / "manifest.json").exists():
        directory = _newest_snapshot(directory)
    return _Snapshot(directory, data, verify)
