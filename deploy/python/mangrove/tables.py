"""Tables: rows with names and ids, whatever they were read from."""
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Optional, Union

import numpy as np

from .files import Error, MissingRow
from .names import Name, NamesOfIds, Vocabulary, show, to_bytes


class Table:
    """Rows with names and ids, in one order: of the file where one file holds them all, else by ascending id.

    `parts` are mapped arrays (n, width); position i of the table is row `where[i]` of their concatenation (None: the
    same). Of names and ids one may be missing; then questions that need them raise Error."""

    def __init__(self, name: str, parts: list[np.ndarray], where: Optional[np.ndarray] = None,
                 ids: Optional[np.ndarray] = None, names: Union[list[str], Vocabulary, str] = ""):
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
        return NamesOfIds(self._names, self.ids) if isinstance(self._names, Vocabulary) else self._names

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
        if isinstance(self._names, Vocabulary) and self._names.find(name) is None:
            raise MissingRow(f"{self._names.path} has no item {show(name)}")
        raise MissingRow(f"table {self.name} has no row of {show(name)}")

    def _find(self, name: Name) -> Optional[int]:
        if isinstance(self._names, Vocabulary):
            row_id = self._names.find(name)
            return None if row_id is None else self._position_of_id(row_id)
        if self._positions is None:
            self._positions = {to_bytes(known): i for i, known in enumerate(self.names)}
        return self._positions.get(to_bytes(name))

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
