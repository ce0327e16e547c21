#!/usr/bin/env python3
"""snapshot_rows.py SNAPSHOT: one line per table: name, rows, SHA-256 of its rows in id order (ids, values, moments).

Reads the safetensors files with NumPy alone, merging what several servers wrote; so two snapshots that hold the same
rows give the same lines, however many servers wrote them."""
import collections
import hashlib
import json
import pathlib
import struct
import sys

import numpy as np

CODES = {"F32": "<f4", "F64": "<f8", "U64": "<u8", "I64": "<i8", "U32": "<u4", "U8": "|u1"}


def load(path):
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data[8 + size + h["data_offsets"][0]:8 + size + h["data_offsets"][1]],
                                CODES[h["dtype"]]).reshape(h["shape"]) for name, h in header.items()}


def main():
    tables = collections.defaultdict(list)
    for path in sorted(pathlib.Path(sys.argv[1]).glob("server-*.safetensors")):
        tables[path.name.split(".", 1)[1].removesuffix(".safetensors")].append(load(path))
    if not tables:
        sys.exit(f"{sys.argv[1]}: no table files")
    for table, parts in sorted(tables.items()):
        rows = np.concatenate([p["rows"] for p in parts])
        order = np.argsort(rows, kind="stable")
        digest = hashlib.sha256(rows[order].tobytes())
        for name in sorted(set(parts[0]) - {"rows", "slots"}):
            digest.update(name.encode() + np.concatenate([p[name] for p in parts])[order].tobytes())
        print(table, len(rows), digest.hexdigest())


if __name__ == "__main__":
    main()
