#!/usr/bin/env python3
"""probe_rows.py SNAPSHOT LR EPOCHS: checks what the probe model leaves behind (probe_model.c).

Every bit of the epoch is set; t of each domain = steps x epochs; every probe row, on every server, has moved by exactly
lr x t of its domain; and every server holds some of each domain's rows."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cluster"))
from snapshot_rows import load  # noqa: E402


def main():
    snapshot, lr, epochs = pathlib.Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    manifest = json.loads((snapshot / "manifest.json").read_text())
    assert manifest["epoch"] == epochs, manifest["epoch"]
    for domain, name in enumerate("AB"):
        steps, t = manifest["steps"][domain], manifest["t"][domain]
        bits = bytes.fromhex(manifest["bitmaps"][domain])
        assert sum(b.bit_count() for b in bits) == steps, f"{name}: not every bit is set"
        assert t == steps * epochs, f"{name}: t is {t}, not {steps} x {epochs}"
        rows = 0
        for server in range(manifest["servers"]):
            values = load(snapshot / f"server-{server}.dense_{name}.safetensors")["values"]
            assert len(values) and (values == -lr * t).all(), f"{name}, server {server}: {values.min()} .. {values.max()}"
            rows += len(values)
        assert rows == 64, rows
    print("every step was applied once on every server")


if __name__ == "__main__":
    main()
