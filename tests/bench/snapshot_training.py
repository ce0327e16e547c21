#!/usr/bin/env python3
"""snapshot_training.py MANGROVE WORK_DIR [--pairs 3] [--seconds 60] [--every 5]: what snapshots cost a training.

Trains with one scheduler, two servers and two workers, async, on synthetic ratings large enough that the first epoch
lasts longer than the measurement, in turns without snapshots and with one every few seconds, and prints the rates
(instances per second between the 10th second and the end, from perf.jsonl) and their ratio. Then verifies every
snapshot of the last such run, resumes each of them to the end of its epoch, and checks that every step was applied
once on the way."""
import argparse
import json
import pathlib
import signal
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def prepare(mangrove, work):
    data, raw = work / "data", work / "ratings"
    if not (data / "manifest.json").exists():
        subprocess.run([mangrove, "synth", str(raw), "--preset", "amazon", "--users-a", "90000", "--users-b", "90000",
                        "--items-a", "60000", "--items-b", "120000", "--seed", "5"], check=True, **SILENT)
        subprocess.run([mangrove, "prepare", str(raw / "ratings_A.csv"), str(raw / "ratings_B.csv"), "--out", str(data)],
                       check=True, **SILENT)
    return data


def lines_of(path):
    try:
        return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    except FileNotFoundError:
        return []


def measure(mangrove, data, run, seconds, options):
    """-> instances per second"""
    subprocess.run(["rm", "-rf", str(run)], check=True)
    command = [mangrove, "train", str(ROOT / "configs/amazon.yaml"), "--set", f"data.dir={data}", "--set",
               f"run.dir={run}", "--set", "train.batch=100", *options]
    child = subprocess.Popen(command, **SILENT)
    deadline = time.monotonic() + seconds + 120
    try:
        while True:
            lines = [p for p in lines_of(run / "perf.jsonl") if p["phase"] == "training" and p["seconds"] >= 10]
            if lines and lines[-1]["seconds"] - lines[0]["seconds"] >= seconds:
                break
            if child.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{run} ended or hung before {seconds} s of its first epoch had been measured")
            time.sleep(0.2)
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()
    first, last = lines[0], lines[-1]
    return (last["instances"] - first["instances"]) / (last["seconds"] - first["seconds"])


def resume(mangrove, snapshot, run):
    """-> its steps done before, of how many"""
    before = json.loads((snapshot / "manifest.json").read_text())
    subprocess.run(["rm", "-rf", str(run)], check=True)
    subprocess.run([mangrove, "train", "--resume", str(snapshot), "--set", f"run.dir={run}", "--set",
                    f"train.epochs={before['epoch']}", "--set", "snapshot.every_s=0"], check=True, **SILENT)
    after = json.loads((run / "snapshots" / f"epoch-{before['epoch']:04}" / "manifest.json").read_text())
    for steps, bitmap, t in zip(after["steps"], after["bitmaps"], after["t"]):
        assert bin(int(bitmap, 16)).count("1") == steps and t == steps * before["epoch"], (snapshot, t, steps)
    return sum(before["t"]), sum(after["steps"])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("mangrove")
    p.add_argument("work", type=pathlib.Path)
    p.add_argument("--pairs", type=int, default=3)
    p.add_argument("--seconds", type=int, default=60)
    p.add_argument("--every", type=int, default=5)
    a = p.parse_args()
    work = a.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = prepare(a.mangrove, work)
    ratios = []
    for pair in range(a.pairs):
        plain = measure(a.mangrove, data, work / "plain", a.seconds, ["--set", "snapshot.enabled=false"])
        saved = measure(a.mangrove, data, work / "saved", a.seconds,
                        ["--set", f"snapshot.every_s={a.every}", "--set", "snapshot.keep=1000"])
        ratios.append(saved / plain)
        print(f"pair {pair + 1}: {plain:.0f} instances/s without, {saved:.0f} with a snapshot every {a.every} s: "
              f"{ratios[-1]:.3f}", flush=True)
    print(f"ratio: median {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}", flush=True)
    print(subprocess.run([a.mangrove, "verify", str(work / "saved")], check=True, capture_output=True, text=True).stdout,
          flush=True)
    for snapshot in sorted((work / "saved" / "snapshots").iterdir()):
        done, steps = resume(a.mangrove, snapshot, work / "resumed")
        print(f"{snapshot.name}: {done} of {steps} steps were done; resumed, every step was applied once", flush=True)


if __name__ == "__main__":
    main()
