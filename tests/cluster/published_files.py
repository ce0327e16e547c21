# published_files.py DATA OUT: writes a prepared data set's test instances under protocol warm as MAN's authors' files.
# The format of the data set's files is specified in worker/data/prepare.h.
import gzip
import pathlib
import sys

import numpy

data, out = map(pathlib.Path, sys.argv[1:])


def sections(name, *types):
    raw = (data / name).read_bytes()
    counts, at = numpy.frombuffer(raw, "<u8", 3, 24), 64
    for count, kind in zip(counts, types):
        kind = numpy.dtype(kind)
        yield numpy.frombuffer(raw, kind, count, at)
        at += -(-int(count) * kind.itemsize // 64) * 64


def names(file):
    offsets, text = sections(file, "<u8", "u1")
    return [text[a : b - 1].tobytes() for a, b in zip(offsets.tolist(), offsets[1:].tolist())]


items, users = names("items.bin"), names("users.bin")
out.mkdir()
for kind, vocabulary in ("item", items), ("user", users):
    with gzip.open(out / f"{kind}_vocab.tsv.gz", "wb") as f:
        f.writelines(b"%d\t%s\n" % (i, name or b"default") for i, name in enumerate(vocabulary))
for domain in "AB":
    _, times, events = sections(f"events_{domain}.bin", "<u4,<u4", "<i8", "<u4")
    _, instances, negatives = sections(f"test_warm_{domain}.bin", "<u4", "<u4,<u4,<u4", "<u4")
    with gzip.open(out / f"test_{domain}.tsv.gz", "wb") as f:
        for (user, first, target), others in zip(instances.tolist(), negatives.reshape(-1, 9)):
            history = range(first, target)
            tail = b"c\t%d\t%s\t%s\t%s" % (
                times[target],
                b",".join(items[events[e]] for e in history),
                b",".join(b"c" for _ in history),
                b",".join(b"%d" % times[e] for e in history),
            )
            for i, item in enumerate([events[target], *others]):
                f.write(b"%d\t%s\t%s\t%s\n" % (i == 0, users[user], items[item], tail))
