#!/usr/bin/env python3
"""wire_accuracy.py MANGROVE DATA_DIR WORK_DIR [--seeds 10] [--jobs 2] [--workers 0] [--set KEY=VALUE ...]: what bytes
saved on the wire cost in accuracy.

Trains configs/amazon.yaml on a prepared data set with each seed and each setting: fp32; train.wire bf16; bf16 with
dense.fetch and dense.push 8. With --workers 0 in one process, which rounds as the wire does; else in a cluster of one
server and so many workers. Prints test AUC and WAUC of both domains at their best validation epochs, mean and deviation
over the seeds, and the difference from fp32, seed by seed, with its standard error. Runs that are finished are not
repeated; those of seeds that never left the plateau at the start (WAUC below .55) are counted."""
import argparse
import concurrent.futures
import json
import math
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SETTINGS = {"fp32": [], "bf16": ["train.wire=bf16"],
            "bf16 dense 8": ["train.wire=bf16", "dense.fetch=8", "dense.push=8"]}
METRICS = [(domain, metric) for domain in "AB" for metric in ("auc", "wauc")]
TARGET = 0.01


def train(a, setting, seed):
    """-> {(domain, metric): value on the test split}"""
    run = a.work / f"{setting.replace(' ', '-')}-{seed}"
    result = run / "test.json"
    if not result.exists():
        subprocess.run(["rm", "-rf", str(run)], check=True)
        where = ["--set", "cluster.servers=1", "--set", f"cluster.workers={a.workers}"] if a.workers else ["--local"]
        sets = [f"data.dir={a.data}", f"run.dir={run}", f"train.seed={seed}", *SETTINGS[setting], *a.set]
        subprocess.run([a.mangrove, "train", str(ROOT / "configs/amazon.yaml"), *where,
                        *(word for s in sets for word in ("--set", s))],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        best = {d: lines[lines[-1][d]["best_epoch"] - 1][d]["test"] for d in "AB"}
        result.write_text(json.dumps(best))
    test = json.loads(result.read_text())
    return {(d, m): test[d][m] for d, m in METRICS}


def error_of_mean(values):
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def report(found, setting, seeds):
    is_within = True
    for d, m in METRICS:
        values = [found[setting, s][d, m] for s in seeds]
        gaps = [found[setting, s][d, m] - found["fp32", s][d, m] for s in seeds]
        mean = statistics.mean(gaps)
        is_within = is_within and abs(mean) <= TARGET
        spread = statistics.stdev(values) if len(values) > 1 else math.nan
        print(f"{setting:13s} {d} {m:5s} {statistics.mean(values):.4f}  sd {spread:.4f}  "
              f"from fp32 {mean:+.4f} +- {error_of_mean(gaps):.4f}")
    stuck = sum(found[setting, s][d, "wauc"] < 0.55 for s in seeds for d in "AB")
    print(f"{setting:13s} every mean within {TARGET} of fp32: {'yes' if is_within else 'no'}; "
          f"{stuck} of {2 * len(seeds)} domains below .55 WAUC")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("mangrove")
    p.add_argument("data", type=pathlib.Path)
    p.add_argument("work", type=pathlib.Path)
    p.add_argument("--seeds", type=int, default=10)
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--workers", type=int, default=0)
    p.add_argument("--set", action="append", default=[])
    a = p.parse_args()
    a.work = a.work.resolve()
    a.work.mkdir(parents=True, exist_ok=True)
    seeds = range(1, a.seeds + 1)
    jobs = [(setting, seed) for seed in seeds for setting in SETTINGS]
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        found = dict(zip(jobs, pool.map(lambda j: train(a, *j), jobs)))
    for setting in SETTINGS:
        report(found, setting, seeds)


if __name__ == "__main__":
    main()
