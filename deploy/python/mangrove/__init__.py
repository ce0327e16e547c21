"""Reads mangrove's snapshots and exports with NumPy alone; tables stay on the disk, memory-mapped.

    import mangrove
    tables = mangrove.open("runs/quickstart")       # a run (its newest snapshot), a snapshot, or an export
    vector = tables["A"]["B000FIS9PU"]              # (width) float32, a read-only view of the file
    matrix = tables["A"].rows(["B000FIS9PU", ...])  # (k, width) float32, a copy

Names of a snapshot's rows come from the prepared data set: from `data`, or else from the directory that the training
read, if it is still there. Names that are not UTF-8 are str with surrogate escapes; bytes are accepted wherever a name
is. A row that was never trained is in no snapshot: KeyError.

What is checked: sizes, types and shapes of every file that is opened, and that an incremental snapshot's base is the
one it was made from. Of a snapshot, contents are checked where the module `xxhash` can be imported (python3-xxhash):
the manifest's own hash always, every block of every file with verify=True. `mangrove verify` needs no Python. Of an
export, the sums of ids, names and text files are compared whenever a table is opened, those of the values with
verify=True.
"""
from __future__ import annotations

import os
from pathlib import Path
from typing import Union

from .export import ExportTables
from .files import Error, MissingRow
from .snapshot import SnapshotTables, newest_snapshot
from .tables import Table, Tables

__all__ = ["Error", "MissingRow", "Table", "Tables", "open"]


def open(path: Union[str, os.PathLike], data: Union[str, os.PathLike, None] = None, verify: bool = False) -> Tables:
    """Opens a run's newest snapshot, a snapshot, or an export.

    data: the prepared data set that a snapshot was trained on. verify: compare every byte with the hashes of a snapshot
    (needs xxhash) or the sums of an export first."""
    directory = Path(path)
    if (directory / "export.json").exists():
        return ExportTables(directory, verify)
    if not (directory / "manifest.json").exists():
        directory = newest_snapshot(directory)
    return SnapshotTables(directory, data, verify)
