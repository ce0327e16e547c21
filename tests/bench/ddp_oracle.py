#!/usr/bin/env python3
"""The reference model trained by PyTorch on several processes, as a careful user of PyTorch would: gloo, an all-reduce
of the dense gradients in one piece, an all-gather of the item tables' row gradients.

    ddp_oracle.py man_torch.py [--processes 2] [--batch 200] [--seconds 10] ...

Batches are made up like those of mangrove bench: histories of geometric length, popular items more often. Each process
computes a batch of its own in every step and one thread. Prints "speed N instances/s" of all processes together.
"""
import argparse
import importlib.util
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # torch.set_num_threads does not reach OpenBLAS
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def load(path):
    spec = importlib.util.spec_from_file_location("reference_model", path)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def make_batch(rng, a):
    length = np.minimum(rng.geometric(1 / a.history, a.batch), a.seq_len)
    draw = lambda shape: 1 + (rng.random(shape) ** 3 * (a.items - 1)).astype(np.int64)
    hist = draw((a.batch, a.seq_len))
    hist[np.arange(a.seq_len)[None] >= length[:, None]] = 0
    return torch.from_numpy(hist), torch.from_numpy(length), torch.from_numpy(draw((a.batch, 10)))


def share_dense(parameters, n):
    """Mean over the processes, in one message."""
    grads = [p.grad for p in parameters]
    flat = torch.cat([g.reshape(-1) for g in grads])
    dist.all_reduce(flat)
    flat /= n
    at = 0
    for g in grads:
        g.copy_(flat[at : at + g.numel()].view_as(g))
        at += g.numel()


def share_sparse(parameter, n):
    """Everybody gets everybody's rows, filled up to the longest: gloo's all-gather wants equal sizes."""
    own = parameter.grad.coalesce()
    count = torch.tensor([own.indices().shape[1]])
    counts = [torch.zeros_like(count) for _ in range(n)]
    dist.all_gather(counts, count)
    most = int(max(counts))
    rows = torch.zeros(most, dtype=torch.long)
    values = torch.zeros(most, own.shape[1])
    rows[: int(count)], values[: int(count)] = own.indices()[0], own.values() / n
    all_rows = [torch.empty_like(rows) for _ in range(n)]
    all_values = [torch.empty_like(values) for _ in range(n)]
    dist.all_gather(all_rows, rows)
    dist.all_gather(all_values, values)
    rows = torch.cat([r[: int(c)] for r, c in zip(all_rows, counts)])
    values = torch.cat([v[: int(c)] for v, c in zip(all_values, counts)])
    parameter.grad = torch.sparse_coo_tensor(rows[None], values, own.shape)


def share(model, n):
    reached = [p for p in model.parameters() if p.grad is not None]
    share_dense([p for p in reached if not p.grad.is_sparse], n)
    for p in reached:
        if p.grad.is_sparse:
            share_sparse(p, n)


def train(rank, a, port, speeds):
    torch.set_num_threads(1)
    torch.manual_seed(1)  # the same parameters everywhere
    if a.processes > 1:
        dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=a.processes)
    reference = load(a.reference)
    model = reference.Man(reference.Config(n_items=a.items + 1, dim=a.dim, seq_len=a.seq_len))
    optimizers = [reference.LazyAdam(model.named_parameters()) for _ in range(2)]
    rng = np.random.default_rng(rank)
    batches = [make_batch(rng, a) for _ in range(16)]
    spent, done, step = 0.0, 0, 0
    goes_on = torch.ones(1)
    while goes_on.item():
        start = time.perf_counter()
        domain = step % 2
        model.loss(model(*batches[step % 16], domain)).backward()
        if a.processes > 1:
            share(model, a.processes)
        optimizers[domain].step()
        if step >= 4:  # the first ones warm up
            spent += time.perf_counter() - start
            done += a.batch
        step += 1
        goes_on[0] = float(spent < a.seconds)
        if a.processes > 1:
            dist.broadcast(goes_on, 0)  # the first process says when it is enough
    speeds.put(done / spent)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("reference", help="the reference model's file")
    p.add_argument("--processes", type=int, default=2)
    p.add_argument("--batch", type=int, default=200)
    p.add_argument("--seconds", type=float, default=10)
    p.add_argument("--dim", type=int, default=20)
    p.add_argument("--seq-len", type=int, default=20)
    p.add_argument("--history", type=float, default=10, help="mean length of a history")
    p.add_argument("--items", type=int, default=20000)
    a = p.parse_args()
    context = mp.get_context("spawn")
    speeds = context.SimpleQueue()
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    workers = [context.Process(target=train, args=(rank, a, port, speeds)) for rank in range(a.processes)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    if any(w.exitcode for w in workers):
        raise SystemExit("a process has failed")
    total = sum(speeds.get() for _ in workers)
    print(f"speed {total:.0f} instances/s with {a.processes} processes of 1 thread, batch {a.batch}")


if __name__ == "__main__":
    main()
