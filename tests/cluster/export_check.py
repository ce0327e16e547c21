"""Compares what mangrove wrote with what other readers make of it; ends with the first difference.

export_check.py export EXPORT SNAPSHOT DATA [ITEMS]   an export, read by NumPy alone, equals the snapshot's files and the
                                                      data set's names; the snapshot's rows in the order of ids or ITEMS
export_check.py module PATH SNAPSHOT DATA             our package on PATH, an export or a snapshot, equals the same
export_check.py damaged EXPORTS SNAPSHOT              our package refuses what is changed in copies of EXPORTS/{npy,
                                                      safetensors,vec}, as written and as version 1 was, and of the
                                                      snapshot's manifest
export_check.py swapped EXPORTS                       our package refuses files of A and B of the same size that changed
                                                      places in copies of EXPORTS/{npy,safetensors}, and a changed
                                                      digit in one of EXPORTS/vec
export_check.py partial SNAPSHOT                      prints 1 if some row stands in its base alone and some in both
export_check.py inspect SNAPSHOT DATA EXPORT <LINES   our package and NumPy alone give by name the rows that mangrove
                                                      inspect --json printed, 1,000 at least
export_check.py foreign EXPORT                        the module safetensors reads what NumPy reads; 77 if it is not there
export_check.py nearest EXPORT NAME FOUND             lines "score name" are the ten of table A nearest by cosine
"""
import json
import pathlib
import re
import shutil
import sys

import numpy as np

from data_names import names_of
from snapshot_rows import load


def unescape(text):
    return re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes.fromhex(m[1].decode()), text)


def rows_of(snapshot, table):
    """Ids and values of all servers, by id; newer rows of an incremental snapshot hide its base's."""
    snapshot = pathlib.Path(snapshot)
    base = json.loads((snapshot / "manifest.json").read_bytes()).get("base")
    rows = {}
    for directory in [snapshot.parent / base["dir"], snapshot] if base else [snapshot]:
        for path in directory.glob(f"server-*.{table}.safetensors"):
            tensors = load(path)
            rows.update(zip(tensors["rows"].tolist(), tensors["values"]))
    ids = sorted(rows)
    return ids, np.array([rows[i] for i in ids])


def lines_of(path):
    data = path.read_bytes()
    lines = data.split(b"\n")
    assert lines.pop() == b"" and len(data.decode("utf-8").splitlines()) == len(lines), "a name breaks its line"
    return lines


def read_words(lines, separator):
    fields = [line.split(separator) for line in lines]
    return [unescape(f[0]) for f in fields], None, np.array([f[1:] for f in fields], dtype=np.float32)


def read_npy(path, table):
    names = [unescape(line) for line in lines_of(path / f"{table}.names.txt")]
    return names, np.load(path / f"{table}.ids.npy"), np.load(path / f"{table}.npy")


def read_safetensors(path, table):
    names = [unescape(line) for line in lines_of(path / f"{table}.names.txt")]
    tensors = load(path / f"{table}.safetensors")
    return names, tensors["ids"], tensors["values"]


def read_vec(path, table):
    head, *lines = lines_of(path / f"{table}.vec")
    names, ids, values = read_words(lines, b" ")
    assert [int(n) for n in head.split()] == list(values.shape)
    assert all(len(line.decode("utf-8").split()) == len(line.split(b" ")) for line in lines), "white space in a name"
    return names, ids, values


def read_tsv(path, table):
    return read_words(lines_of(path / f"{table}.tsv"), b"\t")


READERS = {"npy": read_npy, "safetensors": read_safetensors, "vec": read_vec, "tsv": read_tsv}


def same(what, found, expected):
    if not np.array_equal(np.asarray(found), np.asarray(expected)):
        sys.exit(f"{what}: {found!r} is not {expected!r}")


def check_export(export, snapshot, data, items=None):
    export = pathlib.Path(export)
    manifest = json.loads((export / "export.json").read_bytes())
    item_names = names_of(f"{data}/items.bin")
    for entry in manifest["tables"]:
        table = entry["table"]
        names, ids, values = READERS[manifest["to"]](export, table)
        expected_ids, expected = rows_of(snapshot, table)
        if items:
            places = {item_names[i]: place for place, i in enumerate(expected_ids)}
            order = [places[n] for n in map(unescape, lines_of(pathlib.Path(items))) if n in places]
            expected_ids, expected = [expected_ids[p] for p in order], expected[order]
        same(f"{table} rows", [entry["rows"], entry["width"]], values.shape)
        same(f"{table} values", values, expected)
        if ids is not None:
            same(f"{table} ids", ids, expected_ids)
        if not table.startswith("dense_"):
            same(f"{table} names", names, [item_names[i] for i in expected_ids])
        print(table, len(names))


def check_module(path, snapshot, data):
    import mangrove

    tables = mangrove.open(path, data=data)
    item_names = [name.decode("utf-8", "surrogateescape") for name in names_of(f"{data}/items.bin")]
    n_rows = 0
    for table in [t for t in tables if not t.startswith(("dense_", "stats"))]:
        ids, expected = rows_of(snapshot, table)
        names = [item_names[i] for i in ids]
        same(f"{table} rows", tables[table].rows(names), expected)
        same(f"{table} vectors", [tables[table][name] for name in names], expected)
        same(f"{table} bytes", tables[table][names[0].encode("utf-8", "surrogateescape")], expected[0])
        same(f"{table} iteration", sorted(tables[table]), sorted(names))
        same(f"{table} in", [name in tables[table] for name in names + ["no such item"]], [True] * len(ids) + [False])
        same(f"{table} all", tables[table].rows(tables[table].names), tables[table].rows())
        assert len(tables[table]) == len(ids)
        assert not tables[table][names[0]].flags.writeable
        n_rows += len(ids)
    print(n_rows, "rows")


def refuses(what, copy, damage, read):
    """A copy is read before the damage, and afterwards refused; not as a name that is not there."""
    import mangrove

    read(copy)
    damage(copy)
    try:
        read(copy)
    except mangrove.Error as error:
        assert not isinstance(error, KeyError), error
        print(f"{what}: {error}")
    else:
        sys.exit(f"{what} is not noticed")


def edit_json(file, change):
    def edit(directory):
        manifest = json.loads((directory / file).read_bytes())
        change(manifest)
        (directory / file).write_text(json.dumps(manifest))

    return edit


def save_as(file, change):
    return lambda export: np.save(export / file, change(np.load(export / file)))


def cut_lines(file):
    return lambda export: (export / file).write_bytes(b"".join((export / file).read_bytes().splitlines(True)[:-1]))


DAMAGE = {
    "npy": {
        "another table's ids": lambda export: (export / "A.ids.npy").write_bytes((export / "B.ids.npy").read_bytes()),
        "another table's values": lambda export: (export / "A.npy").write_bytes((export / "B.npy").read_bytes()),
        "values of another type": save_as("A.npy", lambda values: values.astype(np.float64)),
        "values in Fortran's order": save_as("A.npy", np.asfortranarray),
        "values in one row": save_as("A.npy", np.ravel),
        "signed ids": save_as("A.ids.npy", lambda ids: ids.astype(np.int64)),
        "ids in a matrix": save_as("A.ids.npy", lambda ids: ids[:, None]),
        "no array": lambda export: (export / "A.npy").write_bytes(b"PK\3\4"),
        "an empty file": lambda export: (export / "A.npy").write_bytes(b""),
        "a byte too many": lambda export: (export / "A.npy").open("ab").write(b"x"),
        "a missing name": cut_lines("A.names.txt"),
        "no tables": edit_json("export.json", lambda m: m.pop("tables")),
        "no format": edit_json("export.json", lambda m: m.pop("to")),
        "another format": edit_json("export.json", lambda m: m.update(to="csv")),
        "a table without width": edit_json("export.json", lambda m: m["tables"][0].pop("width")),
        "no entry": edit_json("export.json", lambda m: m.update(tables=[1])),
    },
    "safetensors": {
        "another table's file": lambda export: (export / "A.safetensors").write_bytes(
            (export / "B.safetensors").read_bytes()),
        "another count": edit_json("export.json", lambda m: m["tables"][0].update(rows=m["tables"][0]["rows"] - 1)),
    },
    "vec": {"a missing line": cut_lines("A.vec"),
            "a word": lambda export: (export / "A.vec").write_bytes((export / "A.vec").read_bytes()[:-3] + b"?x\n")},
}


def as_version_1(manifest):
    manifest["version"] = 1
    for table in manifest["tables"]:
        table["files"] = [file["file"] for file in table["files"]]


def copy_of(directory):
    copy = directory.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    return pathlib.Path(shutil.copytree(directory, copy))


def check_damaged(exports, snapshot):
    import mangrove
    import mangrove.snapshot

    for format, cases in DAMAGE.items():
        for what, damage in cases.items():
            for prepare in (lambda copy: None, edit_json("export.json", as_version_1)):  # sums, shapes
                copy = copy_of(pathlib.Path(exports) / format)
                prepare(copy)
                refuses(what, copy, damage, lambda path: mangrove.open(path)["A"].ids if format != "vec" else
                        mangrove.open(path)["A"])
    copy = pathlib.Path(exports) / "copy"
    mangrove.snapshot.xxhash = None  # or the manifest's own hash tells first
    for key in ("files", "tensors", "config", "data"):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(snapshot, copy)
        text = (copy / "manifest.json").read_text()
        refuses(f"no {key}", copy, lambda path: (path / "manifest.json").write_text(text.replace(f'"{key}"', '"gone"', 1)),
                lambda path: mangrove.open(path)["A"])


def swap(suffix):
    def change(export):
        a, b = export / f"A{suffix}", export / f"B{suffix}"
        of_a, of_b = a.read_bytes(), b.read_bytes()
        assert len(of_a) == len(of_b) and of_a != of_b
        a.write_bytes(of_b), b.write_bytes(of_a)

    return change


def change_digit(export):
    text = (export / "A.vec").read_bytes()
    (export / "A.vec").write_bytes(text[:-2] + (b"2\n" if text[-2:] == b"1\n" else b"1\n"))


def check_swapped(exports):
    import mangrove

    exports = pathlib.Path(exports)
    for format, suffix in (("npy", ".ids.npy"), ("npy", ".names.txt"), ("safetensors", ".safetensors")):
        for table in "AB":
            refuses(f"{suffix} of {table}", copy_of(exports / format), swap(suffix),
                    lambda path: mangrove.open(path)[table])
    refuses("a digit", copy_of(exports / "vec"), change_digit, lambda path: mangrove.open(path)["A"])
    mangrove.open(exports / "npy", verify=True).verify()
    refuses("values", copy_of(exports / "npy"), swap(".npy"), lambda path: mangrove.open(path, verify=True))
    copy = copy_of(exports / "npy")
    refuses("no sums", copy, edit_json("export.json", as_version_1), lambda path: mangrove.open(path, verify=True))
    assert len(mangrove.open(copy)["A"]) == 3


def check_partial(snapshot):
    manifest = json.loads((pathlib.Path(snapshot) / "manifest.json").read_bytes())
    ids = []
    for directory in (pathlib.Path(snapshot), pathlib.Path(snapshot).parent / manifest["base"]["dir"]):
        ids.append({int(i) for path in directory.glob("server-*.shared.safetensors") for i in load(path)["rows"]})
    print(int(bool(ids[1] - ids[0]) and bool(ids[0] & ids[1])))


def check_inspect(snapshot, data, export):
    import mangrove

    tables, lines = mangrove.open(snapshot, data=data), [json.loads(line) for line in sys.stdin]
    exported = {table: read_npy(pathlib.Path(export), table) for table in {line["table"] for line in lines}}
    places = {table: {name: i for i, name in enumerate(names)} for table, (names, _, _) in exported.items()}
    for line in lines:
        values = np.array(line["values"], np.float32)  # nine digits: back to the bit
        table, name = line["table"], line["name"]
        same(f"{table} {name}", tables[table][name], values)
        same(f"{table} {name} of NumPy alone", exported[table][2][places[table][name.encode()]], values)
        same(f"{table} {name} id", exported[table][1][places[table][name.encode()]], line["row"])
    assert len(lines) >= 1000 and len({(line["table"], line["name"]) for line in lines}) == len(lines), len(lines)
    print(len(lines), "rows")


def check_foreign(export):
    try:
        from safetensors.numpy import load_file
    except ImportError:
        sys.exit(77)
    for path in pathlib.Path(export).glob("*.safetensors"):
        theirs, ours = load_file(path), load(path)
        assert set(theirs) == set(ours) == {"ids", "values"}
        for name in ours:
            same(f"{path} {name}", theirs[name], ours[name])


def check_nearest(export, name, found):
    names, _, values = read_npy(pathlib.Path(export), "A")
    units = values.astype(np.float64) / np.linalg.norm(values.astype(np.float64), axis=1, keepdims=True)
    cosines = dict(zip(names, units @ units[names.index(name.encode())]))
    lines = [line.split(b" ", 1) for line in pathlib.Path(found).read_bytes().split(b"\n")[:-1]]
    assert lines[0] == [b"1.0000", name.encode()] and len(lines) == 10, lines
    best = sorted(cosines.values(), reverse=True)[:10]
    for (score, other), cosine in zip(lines, best):  # four digits are printed; sums of floats differ by far less
        assert abs(float(score) - cosine) < 1e-4 and abs(cosines[other] - cosine) < 1e-4, (score, other, cosine)


if __name__ == "__main__":
    checks = {"export": check_export, "module": check_module, "damaged": check_damaged, "swapped": check_swapped,
              "partial": check_partial,
              "inspect": check_inspect, "foreign": check_foreign, "nearest": check_nearest}
    checks[sys.argv[1]](*sys.argv[2:])
