#!/usr/bin/env python3
"""Writes vectors.json: small updates and what each rule makes of them, computed in float64 by NumPy.

Where ByzFL is installed (pip install byzfl) and defines a rule as we do, its results on the same updates are written
instead, after NumPy's have been compared with them, so that the Rust tests hold our kernels against ByzFL itself.
"""
import json
import pathlib

import numpy as np

SHAPES = [(1, 7), (2, 11), (31, 7), (32, 9), (33, 7), (64, 5), (65, 5), (200, 3)]


def updates(rng, n, d):
    x = rng.normal(size=(n, d)).astype(np.float32)
    x[:, 1] *= np.float32(1e-39)  # subnormal
    x[:, 2] = np.round(x[:, 2])  # many equal, zeros of either sign
    if n > 3:
        x[3] = x[1]  # a copy
    return x


def distances(x):
    return ((x[:, None, :] - x[None, :, :]) ** 2).sum(axis=2)


def krum_order(x, f):
    n = len(x)
    others = np.sort(distances(x), axis=1)[:, 1 : n - f - 1]
    return np.argsort(others.sum(axis=1), kind="stable")


def trimmed_mean(x, f):
    return np.sort(x, axis=0)[f : len(x) - f].mean(axis=0)


def bulyan(x, f):
    n = len(x)
    chosen = x[krum_order(x, f)[: n - 2 * f]]
    around = np.abs(chosen - np.median(chosen, axis=0))
    nearest = np.argsort(around, axis=0, kind="stable")[: n - 4 * f]
    return np.take_along_axis(chosen, nearest, axis=0).mean(axis=0)


def geometric_median(x, nu, t):
    z = np.zeros(x.shape[1])
    for _ in range(t):
        beta = 1 / np.maximum(nu, np.linalg.norm(x - z, axis=1))
        z = (x * beta[:, None]).sum(axis=0) / beta.sum()
    return z


def clipping(x, c):
    norms = np.linalg.norm(x, axis=1)
    return (x * np.minimum(1, c / norms)[:, None]).mean(axis=0)


def centered_clipping(x, m, l, tau):
    for _ in range(l):
        far = x - m
        m = m + (far * np.minimum(1, tau / np.linalg.norm(far, axis=1))[:, None]).mean(axis=0)
    return m


def nnm(x, f):
    nearest = np.argsort(distances(x), axis=1, kind="stable")[:, : len(x) - f]
    return x[nearest].mean(axis=1)


def references(x):
    n = len(x)
    f, few = (n - 3) // 2, (n - 3) // 4
    zero = np.zeros(x.shape[1])
    found = {
        "mean": x.mean(axis=0),
        "median": np.median(x, axis=0),
        "trimmed mean": trimmed_mean(x, (n - 1) // 3),
        "geometric median": geometric_median(x, 0.1, 3),
        "clipping": clipping(x, 2.0),
        "centered clipping": centered_clipping(x, zero, 3, 1.5),
        "nnm + trimmed mean": trimmed_mean(nnm(x, n // 4), n // 4),
    }
    if n >= 3:
        found["krum"] = x[krum_order(x, f)[0]]
        found["multi-krum"] = x[krum_order(x, f)[: n - f]].mean(axis=0)
        found["bulyan"] = bulyan(x, few)
    return found


def by_byzfl(x):
    try:
        import byzfl
    except ImportError:
        return {}
    n = len(x)
    clipped = byzfl.Clipping(c=2.0)(x.copy())
    return {
        "mean": byzfl.Average()(x),
        "median": byzfl.Median()(x),
        "trimmed mean": byzfl.TrMean(f=(n - 1) // 3)(x),
        "geometric median": byzfl.GeometricMedian(nu=0.1, T=3)(x),
        "clipping": byzfl.Average()(clipped),
        "centered clipping": byzfl.CenteredClipping(L=3, tau=1.5)(x),
        "nnm + trimmed mean": byzfl.TrMean(f=n // 4)(byzfl.NNM(f=n // 4)(x)),
    }


def main():
    rng = np.random.default_rng(20261122)
    cases = []
    for n, d in SHAPES:
        x = updates(rng, n, d)
        exact = x.astype(np.float64)
        found = references(exact)
        for rule, theirs in by_byzfl(exact).items():
            np.testing.assert_allclose(found[rule], theirs, rtol=1e-9, atol=1e-12, err_msg=f"{rule} of {n}")
            found[rule] = theirs
        cases.append(
            {
                "updates": [[int(bits) for bits in row.view(np.uint32)] for row in x],
                "expected": {rule: [float(value) for value in values] for rule, values in found.items()},
            }
        )
    out = pathlib.Path(__file__).with_name("vectors.json")
    out.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")


main()
