#!/usr/bin/env python3
"""The reference's reader of ratings, timed: both files, k-core, ids, splits by time, evaluation candidates.

    mangrove bench prepare --yardstick 'oracle_prepare.py ../shared/reference'

Runs read_csv, instances and eval_negatives of train_torch.py on RATINGS_A and RATINGS_B of the environment, in the
order of its main(); the time to import torch is not counted. Nothing is written. Prints "speed N instances/s", where an
instance is a row of the files.
"""
import os
import sys
import time

sys.path.insert(0, sys.argv[1])
import numpy as np
from train_torch import eval_negatives, instances, read_csv

CORE, CANDIDATES = 5, 9


def prepare(paths):
    raw = [read_csv(path, CORE) for path in paths]
    ids = {}
    for users in raw:
        for events in users.values():
            for _time, item in events:
                ids.setdefault(item, len(ids) + 1)
    for d, users in enumerate(raw):
        times = np.sort([t for events in users.values() for t, _item in events])
        parts = instances(users, ids, (times[int(0.8 * len(times))], times[int(0.9 * len(times))]))
        seen = {i for _user, target, history in parts["train"] for i in (target, *history)}
        rng = np.random.default_rng(1000 + d)
        for split in ("valid", "test"):
            rows = [row for row in parts[split] if row[1] in seen]
            eval_negatives(rows, np.array([target for _user, target, _history in rows]), rng, CANDIDATES)


if __name__ == "__main__":
    files = [os.environ["RATINGS_A"], os.environ["RATINGS_B"]]
    n_rows = 0
    for name in files:
        with open(name, "rb") as f:
            n_rows += sum(1 for _ in f)
    start = time.perf_counter()
    prepare(files)
    print(f"speed {n_rows / (time.perf_counter() - start):.0f} instances/s")
