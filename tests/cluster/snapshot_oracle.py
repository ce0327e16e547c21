#!/usr/bin/env python3
"""snapshot_oracle.py COMMAND ...: NumPy's opinion of what `mangrove inspect` and `mangrove diff` print.

rows SNAPSHOT          stdin: the lines of `inspect --rows --json`; all columns equal the files' bit for bit; prints how many
tables SNAPSHOT        stdin: the object of `inspect --json`; rows, ids with rows and norms of every table
diff BEFORE AFTER      stdin: the object of `diff --json`; counts, distances and the rows that moved farthest"""
import collections
import json
import pathlib
import struct
import sys

import numpy as np

CODES = {"F32": "<f4", "U64": "<u8"}


def load(path):
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data[8 + size + h["data_offsets"][0]:8 + size + h["data_offsets"][1]],
                                CODES[h["dtype"]]).reshape(h["shape"]) for name, h in header.items()}


def tables_of(snapshot):
    """{table: (ids ascending, {column: (rows, width)})}, whichever servers wrote them"""
    parts = collections.defaultdict(list)
    for path in sorted(pathlib.Path(snapshot).glob("server-*.safetensors")):
        parts[path.name.split(".", 1)[1].removesuffix(".safetensors")].append(load(path))
    tables = {}
    for table, files in parts.items():
        ids = np.concatenate([f["rows"] for f in files])
        order = np.argsort(ids)
        tables[table] = ids[order], {name: np.concatenate([f[name] for f in files])[order]
                                     for name in files[0] if name not in ("rows", "slots")}
    return tables


def lower_median(x):
    return np.sort(x)[(len(x) - 1) // 2]


def assert_spread(found, x):
    # sums of doubles in another order: some units in the last place
    np.testing.assert_allclose([found[k] for k in ("min", "median", "mean", "max")],
                               [x.min(), lower_median(x), x.mean(), x.max()], rtol=1e-12)


def norms_of(x):
    return np.sqrt((x.astype(np.float64) ** 2).sum(axis=1))


def check_rows(snapshot):
    tables, n = tables_of(snapshot), 0
    for n, line in enumerate(sys.stdin, 1):
        row = json.loads(line)
        ids, columns = tables[row["table"]]
        at = np.searchsorted(ids, row["row"])
        assert ids[at] == row["row"], row
        assert set(columns) == set(row) - {"table", "row", "name"}, row
        for name, values in columns.items():
            assert np.array(row[name], np.float32).tobytes() == values[at].tobytes(), (row["row"], name)
    print(n)


def check_tables(snapshot):
    tables, seen = tables_of(snapshot), json.load(sys.stdin)["tables"]
    assert {t["table"] for t in seen} == set(tables)
    for t in seen:
        ids, columns = tables[t["table"]]
        norms = norms_of(columns["values"])
        assert (t["rows"], t["width"], t["columns"]) == (len(ids), columns["values"].shape[1], len(columns)), t
        assert t["ids"] > ids.max() and t["not_finite"] == 0 and t["zero"] == (norms == 0).sum(), t
        assert_spread(t["norms"], norms)
        assert sum(b["rows"] for b in t["histogram"]) + t["zero"] == len(ids)
        for b in t["histogram"]:
            assert b["rows"] == ((norms >= b["from"]) & (norms < b["to"])).sum(), b


def check_diff(before, after):
    x, y, seen = tables_of(before), tables_of(after), json.load(sys.stdin)["tables"]
    assert {t["table"] for t in seen} == set(x) | set(y)
    for t in seen:
        (a_ids, a), (b_ids, b) = x[t["table"]], y[t["table"]]
        common, i, j = np.intersect1d(a_ids, b_ids, return_indices=True)
        a, b = a["values"][i], b["values"][j]
        is_changed = (a.view(np.uint32) != b.view(np.uint32)).any(axis=1)
        distances = norms_of(b.astype(np.float64) - a)
        assert (t["rows_before"], t["rows_after"]) == (len(a_ids), len(b_ids)), t
        assert (t["added"], t["removed"]) == (len(b_ids) - len(common), len(a_ids) - len(common)), t
        assert (t["changed"], t["unchanged"]) == (is_changed.sum(), (~is_changed).sum()), t
        if is_changed.any():
            assert_spread(t["moved"], distances[is_changed])
            top = np.argsort(-distances, kind="stable")[:len(t["top"])]
            assert [r["row"] for r in t["top"]] == common[top].tolist(), t["top"]
            np.testing.assert_allclose([r["distance"] for r in t["top"]], distances[top], rtol=1e-12)
        else:
            assert t["moved"] is None and t["top"] == []


if __name__ == "__main__":
    {"rows": check_rows, "tables": check_tables, "diff": check_diff}[sys.argv[1]](*sys.argv[2:])
