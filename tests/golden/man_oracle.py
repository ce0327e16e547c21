#!/usr/bin/env python3
"""MAN's forward pass in NumPy, written from its specification, one instance at a time: the second opinion on the logits.

    man_oracle.py FILE...     safetensors files with a batch, its parameters and the logits found; exit 1 if they differ

A file holds param/<tensor>, in/offset (B+1), in/hist (P), in/cand (B,N), out/logits (B,N) and, of batch norm in
evaluation, stat/<tensor>; its metadata name the model's switches. Everything is float64.
"""
import json
import struct
import sys

import numpy as np

TOLERANCE = 1e-9    # absolute + relative: both sides round to 1e-16, in sums of at most some hundred terms
TYPES = {"F64": np.float64, "U32": np.uint32}


def read(path):
    """-> {name: array}, metadata"""
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
        data = f.read()
    meta = header.pop("__metadata__")
    arrays = {}
    for name, e in header.items():
        begin, end = e["data_offsets"]
        arrays[name] = np.frombuffer(data[begin:end], TYPES[e["dtype"]]).reshape(e["shape"])
    return arrays, meta


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Man:
    """Equations are numbered as in the specification's forward pass."""

    def __init__(self, arrays, meta):
        self.p = {k[6:]: v for k, v in arrays.items() if k.startswith("param/")}
        self.stat = {k[5:]: v for k, v in arrays.items() if k.startswith("stat/")}
        self.meta = meta
        self.domain = int(meta["domain"])
        self.side = "AB"[self.domain]
        self.is_training = meta["training"] == "1"

    def has(self, part):
        return self.meta[part] == "1" and self.meta["backbone_only"] == "0"

    # ---- building blocks

    def linear(self, name, x):
        y = x @ self.p[name + ".W"]
        return y + self.p[name + ".b"].ravel()

    def layer_norm(self, name, x):
        mean = x.mean(-1, keepdims=True)
        var = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-8) * self.p[name + ".gamma"].ravel() + self.p[name + ".beta"].ravel()

    def attention(self, name, xq, xk, causal=False, projects_query=True):
        q = self.linear(name + ".q", xq) if projects_query else xq
        k, v = self.linear(name + ".k", xk), self.linear(name + ".v", xk)
        z = q @ k.T / np.sqrt(q.shape[1])
        if causal:
            z = np.where(np.tri(*z.shape, dtype=bool), z, -np.inf)
        return softmax(z) @ v + xq

    def feed_forward(self, name, x):
        return self.linear(name + ".down", np.maximum(self.linear(name + ".up", x), 0)) + x

    def mlp(self, name, x):
        """x (rows, inputs): the rows are all that batch norm sees."""
        i = 0
        while f"{name}.layers.{i}.W" in self.p:
            x = self.linear(f"{name}.layers.{i}", x)
            if self.meta["norm"] == "batch":
                if self.is_training:
                    mean, var = x.mean(0), x.var(0)
                else:
                    mean, var = self.stat[f"{name}.mean{i}"][self.domain], self.stat[f"{name}.var{i}"][self.domain]
                x = (x - mean) / np.sqrt(var + 1e-4) * self.p[f"{name}.gamma.{i}"] + self.p[f"{name}.beta.{i}"]
            x = np.maximum(x, 0)
            i += 1
        return self.linear(name + ".out", x)[:, 0]

    # ---- 2. encoders, of one history

    def encode(self, side, e):
        name = "enc." + side
        if self.meta["encoder"] == "gru4rec":
            return self.gru(name, e)
        x = e
        for i in range(int(self.meta["blocks"])):
            x = self.attention(f"{name}.att.{i}", self.layer_norm(f"{name}.ln_att.{i}", x), x, causal=True)
            x = self.feed_forward(f"{name}.ffn.{i}", self.layer_norm(f"{name}.ln_ffn.{i}", x))
        return self.layer_norm(name + ".ln_out", x)

    def gru(self, name, e):
        d = e.shape[1]
        h, states = np.zeros(d), []
        for x in e:
            gates = sigmoid(self.linear(name + ".gate", np.concatenate([x, h])))
            r, u = gates[:d], gates[d:]
            c = np.tanh(self.linear(name + ".cand", np.concatenate([x, r * h])))
            h = u * h + (1 - u) * c
            states.append(h)
        return np.array(states)

    # ---- 3. to 5., of one instance

    def isa_rows(self, k, q):
        """The rows of the item-similarity MLP: one for each candidate and position."""
        projected = k @ self.p[f"isa.{self.side}.W"]
        return np.array([np.concatenate([t, c, t - c, t * c]) for c in q for t in projected])

    def sfa(self, s, s_global):
        name = "sfa." + self.side
        c = self.attention(name + ".att", self.layer_norm(name + ".ln_q", s), s_global, causal=True)
        return self.feed_forward(name + ".ffn", self.layer_norm(name + ".ln_ffn", c))

    def gpa(self, s):
        name = "gpa." + self.side
        g0 = self.layer_norm(name + ".ln_g", self.p["group"])
        c = self.attention(name + ".att", g0, s, projects_query=False)
        built = self.feed_forward(name + ".ffn_build", self.layer_norm(name + ".ln_build", c))
        a = self.layer_norm(name + ".ln_match", s)
        matched = self.p[name + ".W_p.W"][:len(s)].T @ a + self.p[name + ".W_p.b"].ravel()[:, None]
        weights = softmax(self.linear(name + ".score", self.linear(name + ".match", matched))[:, 0])
        o = self.feed_forward(name + ".ffn_out", self.layer_norm(name + ".ln_out", self.linear(name + ".value", built)))
        return weights @ o

    # ---- all of it

    def embed(self, side, items):
        return self.p["item." + side][items] + self.p["pos." + side][:len(items)]

    def logits(self, histories, candidates):
        n = candidates.shape[1]
        is_backbone = self.meta["backbone_only"] == "1"
        local_rows, global_rows, keys, pairs = [], [], [], []
        for hist, cand in zip(histories, candidates):
            e = self.embed(self.side, hist)
            s = self.encode(self.side, e)
            parts = [self.p["item." + self.side][cand], np.tile(s.mean(0), (n, 1))]
            if not is_backbone:
                e_global = self.embed("shared", hist)
                s_global = self.encode("shared", e_global)
                q_global = self.p["item.shared"][cand]
                keys.append(e + e_global)
                if self.has("isa"):
                    pairs.append(self.isa_rows(e + e_global, q_global))
                if self.has("sfa"):
                    parts.append(np.tile(self.sfa(s, s_global).mean(0), (n, 1)))
                if self.has("gpa"):
                    parts.append(np.tile(self.gpa(s), (n, 1)))
                global_rows.append(np.hstack([q_global, np.tile(s_global.mean(0), (n, 1))]))
            local_rows.append(parts)
        if pairs:
            self.add_isa(local_rows, keys, pairs, n)
        out = self.mlp("head." + self.side, np.vstack([np.hstack(parts) for parts in local_rows]))
        if not is_backbone:
            out = out + self.mlp("head.shared", np.vstack(global_rows))
        return out.reshape(-1, n)

    def add_isa(self, local_rows, keys, pairs, n):
        """Batch norm couples all triples of the batch, so their MLP runs once over all of them."""
        f = self.mlp(f"isa.{self.side}.mlp", np.vstack(pairs))
        done = 0
        for parts, k in zip(local_rows, keys):
            alpha = softmax(f[done:done + n * len(k)].reshape(n, len(k)))
            parts.insert(1, alpha @ k)
            done += n * len(k)


def check(path):
    arrays, meta = read(path)
    offset = arrays["in/offset"]
    histories = [arrays["in/hist"][a:b] for a, b in zip(offset[:-1], offset[1:])]
    want = Man(arrays, meta).logits(histories, arrays["in/cand"])
    got = arrays["out/logits"]
    worst = (np.abs(got - want) / (1 + np.abs(want))).max()
    label = " ".join(f"{k}={v}" for k, v in meta.items())
    print(f"{'ok' if worst < TOLERANCE else 'DIFFERS'} {worst:.1e} {label}")
    return worst < TOLERANCE


if __name__ == "__main__":
    sys.exit(0 if len(sys.argv) > 1 and all([check(path) for path in sys.argv[1:]]) else 1)
