#!/usr/bin/env python3
"""Small NumPy files and what their arrays hold: make_arrays.py data/vectors/numpy

stored.npz, deflated.npz and fortran.npy, and arrays.tsv: file, array, SHA-256 of the elements in
row-major order as little-endian f32. Needs numpy.
"""
import hashlib
import os
import sys

import numpy as np


def main():
    folder = sys.argv[1]
    rng = np.random.default_rng(3)
    arrays = {
        "f32": rng.standard_normal((37, 30)).astype("<f4"),
        "fortran": np.asfortranarray(rng.standard_normal((50, 20)).astype("<f2")),
        "i64": np.arange(-5, 5, dtype="<i8"),
        "scalar": np.array(3.5, "<f4"),
        "f64": rng.standard_normal((3, 4, 5)).astype("<f8"),
        "none": np.zeros((0, 4), "<f4"),
        "u8": rng.integers(0, 3, (100, 700)).astype("|u1"),
    }
    packed = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    np.savez(os.path.join(folder, "stored.npz"), **arrays)
    np.savez_compressed(os.path.join(folder, "deflated.npz"), **packed)
    np.save(os.path.join(folder, "fortran.npy"), arrays["fortran"])
    with open(os.path.join(folder, "arrays.tsv"), "w") as f:
        for name in ("stored.npz", "deflated.npz"):
            for key, value in arrays.items():
                print(name, key, digest(value), sep="\t", file=f)
        print("fortran.npy", "array", digest(arrays["fortran"]), sep="\t", file=f)


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).astype("<f4").tobytes()).hexdigest()


main()
