#!/usr/bin/env python3
"""transfer_gain.py MANGROVE WORK_DIR [--seeds 10] [--jobs 2]: what crossing domains gives, and that it comes from there.

Trains MAN and `backbone_only` with the same seeds on the quick start's synthetic data and on the same data with B's item
and user names made disjoint from A's. Prints, over the seeds, the gain of MAN over the backbone in domain B's test WAUC
on each, and the difference of the gains with its standard error. Runs that are finished are not repeated."""
import argparse
import concurrent.futures
import json
import math
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
PREPARE = ["--split", "days", "--days", "200"]  # as deploy/quickstart.sh


def prepare(mangrove, work, name, extra):
    if not (work / name / "manifest.json").exists():
        raw = work / f"{name}-ratings"
        subprocess.run([mangrove, "synth", str(raw), "--preset", "transfer", *extra], check=True)
        subprocess.run([mangrove, "prepare", str(raw / "ratings_A.csv"), str(raw / "ratings_B.csv"), "--out",
                        str(work / name), *PREPARE], check=True, stdout=subprocess.DEVNULL)
    return work / name


def train(mangrove, work, data, model, seed):
    """-> (test WAUC of B at its best validation epoch, test positives of B)"""
    run = work / f"{data.name}-{model}-{seed}"
    result = run / "evaluation.json"
    if not result.exists():
        subprocess.run(["rm", "-rf", str(run)], check=True)
        subprocess.run([mangrove, "train", "--local", str(ROOT / "configs/quickstart.yaml"), "--set", f"data.dir={data}",
                        "--set", f"run.dir={run}", "--set", f"train.seed={seed}", "--set", "train.epochs=30", "--set",
                        f"model.backbone_only={'true' if model == 'backbone' else 'false'}"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        best = lines[lines[-1]["B"]["best_epoch"] - 1]["B"]
        result.write_text(json.dumps(best["test"]))
    test = json.loads(result.read_text())
    return test["wauc"], test["n"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("mangrove")
    p.add_argument("work", type=pathlib.Path)
    p.add_argument("--seeds", type=int, default=10)
    p.add_argument("--jobs", type=int, default=2)
    a = p.parse_args()
    work = a.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    sets = {"common": prepare(a.mangrove, work, "common", []),
            "disjoint": prepare(a.mangrove, work, "disjoint", ["--disjoint"])}
    jobs = [(name, model, seed) for seed in range(1, a.seeds + 1) for name in sets for model in ("man", "backbone")]
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        found = dict(zip(jobs, pool.map(lambda j: train(a.mangrove, work, sets[j[0]], j[1], j[2]), jobs)))
    gains = {}
    for name in sets:
        for model in ("man", "backbone"):
            waucs = [found[name, model, s][0] for s in range(1, a.seeds + 1)]
            print(f"{name:9s} {model:9s} WAUC of B {statistics.mean(waucs):.4f}  sd {statistics.stdev(waucs):.4f}")
        gains[name] = [found[name, "man", s][0] - found[name, "backbone", s][0] for s in range(1, a.seeds + 1)]
    net = [c - d for c, d in zip(gains["common"], gains["disjoint"])]
    print(f"{found['common', 'man', 1][1]} test positives; gain on common names {statistics.mean(gains['common']):.4f}, "
          f"on disjoint ones {statistics.mean(gains['disjoint']):.4f}")
    print(f"difference {statistics.mean(net):.4f} +- {statistics.stdev(net) / math.sqrt(len(net)):.4f} (standard error)")


if __name__ == "__main__":
    main()
