#!/usr/bin/env python3
"""The yardstick of `mangrove bench step`: the PyTorch oracle of MAN, one thread, on padded batches.

    mangrove bench step configs/amazon.yaml --data DIR --yardstick \
        "OPENBLAS_NUM_THREADS=1 python3 oracle_speed.py REFERENCE [--batch 20] [--history 10] [--data A.csv.gz B.csv.gz]"

REFERENCE is the folder of man_torch.py and train_torch.py. Histories are padded to T with a mask, as a careful PyTorch
user would: what the candidates of an instance share is computed once. Forward, backward and Adam are timed; making the
batches is not. The last line is "speed N instances/s".
"""
import argparse
import sys
import time

import numpy as np
import torch

MADE_UP_ITEMS = 20000


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("reference")
    p.add_argument("--batch", type=int, default=20)
    p.add_argument("--dim", type=int, default=20)
    p.add_argument("--seq-len", type=int, default=20)
    p.add_argument("--groups", type=int, default=10)
    p.add_argument("--mlp", default="20,10")
    p.add_argument("--encoder", default="sasrec")
    p.add_argument("--history", type=float, default=10, help="mean of made-up histories; T or more: all are full")
    p.add_argument("--data", nargs=2, metavar="CSV", help="real histories of these ratings instead of made-up ones")
    p.add_argument("--seconds", type=float, default=5)
    return p.parse_args()


def made_up(a, rng, n=20000):
    """n instances: histories of geometric length cut at T, as `bench step` makes them, popular items more often."""
    length = np.full(n, a.seq_len) if a.history >= a.seq_len else rng.geometric(1 / a.history, n).clip(1, a.seq_len)
    draw = lambda *shape: 1 + (rng.random(shape) ** 3 * (MADE_UP_ITEMS - 1)).astype(np.int64)
    hist = draw(n, a.seq_len)
    hist[np.arange(a.seq_len) >= length[:, None]] = 0
    return [(hist, length, draw(n))], MADE_UP_ITEMS


def of_ratings(a, train):
    """The training instances of two files of ratings, k-core 5, split by time at the 80 % quantile."""
    raw = [train.read_csv(path, 5) for path in a.data]
    ids = {}
    for users in raw:
        for events in users.values():
            for _time, item in events:
                ids.setdefault(item, len(ids) + 1)
    out = []
    for users in raw:
        times = np.sort([t for events in users.values() for t, _ in events])
        rows = train.instances(users, ids, (times[int(0.8 * len(times))], times[int(0.9 * len(times))]))["train"]
        hist, length = train.pack(rows, a.seq_len)
        out.append((hist, length, np.array([target for _user, target, _hist in rows])))
    return out, len(ids) + 1


def batches(a, domains, rng):
    """Endless: domain, hist, length, candidates; the domains by turns, negatives from the targets."""
    while True:
        for d in range(2):
            hist, length, target = domains[d % len(domains)]
            i = rng.integers(0, len(target), a.batch)
            cand = target[rng.integers(0, len(target), (a.batch, 10))]
            cand[:, 0] = target[i]
            yield d, torch.from_numpy(hist[i]), torch.from_numpy(length[i]), torch.from_numpy(cand)


def main():
    a = parse()
    sys.path.insert(0, a.reference)
    import man_torch
    import train_torch
    torch.set_num_threads(1)
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    domains, n_items = of_ratings(a, train_torch) if a.data else made_up(a, rng)
    model = man_torch.Man(man_torch.Config(n_items=n_items, dim=a.dim, seq_len=a.seq_len, groups=a.groups,
                                           encoder=a.encoder, mlp=tuple(int(x) for x in a.mlp.split(","))))
    optimizers = [man_torch.LazyAdam(model.named_parameters()) for _ in range(2)]
    spent, cpu, done, warm = 0.0, 0.0, 0, 4
    for step, (d, hist, length, cand) in enumerate(batches(a, domains, rng)):
        start, cpu_start = time.perf_counter(), time.process_time()
        model.loss(model(hist, length, cand, d)).backward()
        optimizers[d].step()
        if step >= warm:
            spent += time.perf_counter() - start
            cpu += time.process_time() - cpu_start
            done += a.batch
        if spent > a.seconds:
            break
    print(f"speed {done / spent:.1f} instances/s, {done / cpu:.1f} per second of processor time")


if __name__ == "__main__":
    main()
