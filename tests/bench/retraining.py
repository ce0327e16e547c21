#!/usr/bin/env python3
"""retraining.py MANGROVE WORK_DIR RATINGS_A RATINGS_B [--seeds 3]: what a day's retraining gains by starting from
yesterday's rows.

Holds back the newest tenth of the ratings (user,item,rating,timestamp; plain or gz), prepares the older ones and trains
on them; then prepares all ratings with --base, checks that every id was kept, and trains one epoch with --init and one
from nothing. Prints the validation WAUC and AUC of both first epochs, per seed and as means."""
import argparse
import gzip
import json
import pathlib
import statistics
import struct
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def older(source, target):
    """All lines but those of the newest tenth of the times."""
    with (gzip.open if source.suffix == ".gz" else open)(source, "rt", errors="surrogateescape") as f:
        lines = f.readlines()
    times = [float(line.rsplit(",", 1)[1]) for line in lines]
    cut = sorted(times)[len(times) * 9 // 10]
    target.write_text("".join(line for line, t in zip(lines, times) if t < cut), errors="surrogateescape")


def names(path):
    """In the order of their ids; the layout of items.bin and users.bin is that of worker/data/prepare.h."""
    data = path.read_bytes()
    n_offsets, n_bytes = struct.unpack_from("<2Q", data, 24)
    start = 64 + (8 * n_offsets + 63) // 64 * 64
    return data[start:start + n_bytes].split(b"\0")[:-1]


def run(*command):
    subprocess.run([str(part) for part in command], check=True, **SILENT)


def train(mangrove, data, out, seed, epochs, *options):
    """-> the metrics of the first epoch"""
    if not (out / "config.yaml").exists():
        run(mangrove, "train", ROOT / "configs/amazon.yaml", "--set", f"data.dir={data}", "--set", f"run.dir={out}", "--set",
            "train.batch=100", "--set", f"train.seed={seed}", "--set", f"train.epochs={epochs}", *options)
    with open(out / "metrics.jsonl") as f:
        return json.loads(f.readline())


def main():
    p = argparse.ArgumentParser()
    p.add_argument("mangrove")
    p.add_argument("work", type=pathlib.Path)
    p.add_argument("ratings", type=pathlib.Path, nargs=2)
    p.add_argument("--seeds", type=int, default=3)
    a = p.parse_args()
    work = a.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    held = [work / "older_A.csv", work / "older_B.csv"]
    for source, target in zip(a.ratings, held):
        older(source, target)
    run(a.mangrove, "prepare", *held, "--out", work / "yesterday", "--force")
    run(a.mangrove, "prepare", *a.ratings, "--out", work / "today", "--base", work / "yesterday", "--force")
    for kind in ("items", "users"):
        old, new = (names(work / day / f"{kind}.bin") for day in ("yesterday", "today"))
        assert new[:len(old)] == old, f"{kind} have lost their ids"
        print(f"{kind}: {len(old) - 1} kept their ids, {len(new) - len(old)} are new", flush=True)
    found = {"init": [], "nothing": []}
    for seed in range(1, a.seeds + 1):
        train(a.mangrove, work / "yesterday", work / f"yesterday-{seed}", seed, 50)
        found["init"].append(train(a.mangrove, work / "today", work / f"init-{seed}", seed, 1, "--init",
                                   work / f"yesterday-{seed}"))
        found["nothing"].append(train(a.mangrove, work / "today", work / f"nothing-{seed}", seed, 1))
    for domain in "AB":
        for start, lines in found.items():
            wauc = [line[domain]["valid"]["wauc"] for line in lines]
            auc = [line[domain]["valid"]["auc"] for line in lines]
            print(f"{domain} from {start:8} first epoch's validation WAUC {statistics.mean(wauc):.4f}, AUC "
                  f"{statistics.mean(auc):.4f}  (WAUC by seed: {' '.join(f'{x:.4f}' for x in wauc)})")


if __name__ == "__main__":
    main()
