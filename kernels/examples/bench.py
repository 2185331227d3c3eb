#!/usr/bin/env python3
"""Times NumPy, PyTorch and ByzFL on the shapes of bench.rs: bench.py [THREADS] [SHAPE]...; least of three runs."""
import sys
import time

import numpy as np

try:
    import torch
except ImportError:
    torch = None
try:
    import byzfl
except ImportError:
    byzfl = None

RUNS = 3


def gram(x):
    product = x @ x.T
    norms = product.diagonal()
    return norms[:, None] + norms[None, :] - 2 * product


def rules(n, x):
    f = (n - 3) // 4
    yield "numpy mean", lambda: x.mean(axis=0)
    yield "numpy median", lambda: np.median(x, axis=0)
    yield "numpy trimmed mean", lambda: np.sort(x, axis=0)[f : n - f].mean(axis=0)
    yield "numpy distances", lambda: gram(x)
    if torch:
        t = torch.from_numpy(x)
        yield "torch mean", lambda: t.mean(dim=0)
        yield "torch median", lambda: t.median(dim=0)
        yield "torch trimmed mean", lambda: t.sort(dim=0)[0][f : n - f].mean(dim=0)
        yield "torch distances", lambda: gram(t)
    if torch and byzfl:
        for name, rule in [
            ("mean", byzfl.Average()),
            ("median", byzfl.Median()),
            ("trimmed mean", byzfl.TrMean(f=f)),
            ("krum", byzfl.Krum(f=f)),
            ("multi-krum", byzfl.MultiKrum(f=f)),
            ("geometric median", byzfl.GeometricMedian(nu=0.1, T=8)),
            ("centered clipping", byzfl.CenteredClipping(L=3, tau=1.5)),
            ("nnm", byzfl.NNM(f=f)),
        ]:
            yield f"byzfl {name} (torch)", lambda rule=rule: rule(t)


def main():
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    if torch:
        torch.set_num_threads(threads)
    for shape in sys.argv[2:] or ["16x10000000", "64x1000000"]:
        n, d = map(int, shape.split("x"))
        x = np.random.default_rng(1).uniform(-1, 1, size=(n, d)).astype(np.float32)
        print(f"\n{n} x {d}, {threads} thread(s)")
        for name, work in rules(n, x):
            best = float("inf")
            for _ in range(RUNS):
                start = time.perf_counter()
                work()
                best = min(best, time.perf_counter() - start)
            print(f"{name:<32} {best * 1e3:>9.1f} ms", flush=True)


main()
