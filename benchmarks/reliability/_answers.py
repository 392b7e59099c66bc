"""Known answers: the random numbers that docs/draws.json publishes, for implementations in other languages.

What has been published never changes: cases may be added, by ``python -m benchmarks.reliability._answers``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anyback import initializers
from anyback.random import Key, Purpose, Stream, step_seed, step_seeds
from benchmarks.turns import ROOT

FILE = ROOT / "docs" / "draws.json"
TOLERANCE = 1e-12
LAST = str(2**64 - 1)

# Seeds are strings, as many JSON readers convert all numbers to doubles.
CASES: dict[str, list[dict[str, Any]]] = {
    "bits": [
        {"seed": "0", "purpose": Purpose.WEIGHTS, "path": "0.weight", "n": 10001},
        {"seed": "0", "purpose": Purpose.SHUFFLE, "path": "0", "n": 10001},
        {"seed": LAST, "purpose": Purpose.SPLIT, "path": "", "n": 10001},
        {"seed": "1234567890123456789", "purpose": "mine", "path": "a.naïve.path", "n": 10001},
    ],
    "uniform": [
        {"seed": "0", "purpose": Purpose.WEIGHTS, "path": "0.weight", "n": 10001},
        {"seed": LAST, "purpose": Purpose.DATA, "path": "", "n": 10001},
    ],
    "permutation": [
        {"seed": "4", "purpose": Purpose.SHUFFLE, "path": "0", "n": 40},
        {"seed": "4", "purpose": Purpose.SHUFFLE, "path": "1", "n": 40},
        {"seed": "4", "purpose": Purpose.SPLIT, "path": "", "n": 50},
        {"seed": LAST, "purpose": Purpose.SHUFFLE, "path": "99", "n": 60000},
        {"seed": "0", "purpose": Purpose.DATA, "path": "", "n": 1797},
    ],
    "words": [
        {"seed": "0", "start": 0, "n": 10001},
        {"seed": LAST, "start": 10**12 + 3, "n": 10001},
    ],
    "mask": [
        {"seed": "4", "step": 0, "path": "0", "keep": 0.5, "shape": [40, 40]},
        {"seed": "0", "step": 0, "path": "2", "keep": 0.9, "shape": [32, 128]},
        {"seed": "0", "step": 1, "path": "2", "keep": 0.9, "shape": [32, 128]},
        {"seed": "0", "step": 1, "path": "5", "keep": 0.9, "shape": [32, 128]},
        {"seed": "1", "step": 1, "path": "3.inner.2", "keep": 0.3, "shape": [7, 3, 5]},
        {"seed": LAST, "step": 10**12, "path": "", "keep": 0.999, "shape": [10001]},
    ],
    "masks of members": [
        {"seeds": ["0", "1", LAST], "step": 20000, "path": "2", "keep": 0.75, "shape": [32, 64]},
    ],
    "uniform weights": [
        {"initializer": name, "seed": seed, "path": "0.weight", "shape": [128, 64]}
        for name, seed in (("glorot_uniform", "0"), ("he_uniform", LAST), ("lecun_uniform", "7"))
    ],
    "normal": [
        {"seed": "0", "purpose": Purpose.WEIGHTS, "path": "0.weight", "n": 10001},
        {"seed": LAST, "purpose": Purpose.DATA, "path": "", "n": 10001},
    ],
    "normal weights": [
        {"initializer": name, "seed": seed, "path": "4.inner.0.weight", "shape": shape}
        for name, seed, shape in (
            ("glorot_normal", "0", [128, 64]),
            ("he_normal", LAST, [128, 64]),
            ("lecun_normal", "7", [128, 64]),
            ("orthogonal", "0", [4, 6]),
            ("orthogonal", "0", [6, 4]),
            ("orthogonal", LAST, [64, 64]),
            ("orthogonal", "7", [5]),
        )
    ],
}


def sha(x: np.ndarray, dtype: str) -> str:
    """Return the SHA-256 of an array's elements as little-endian numbers, in row-major order."""
    return hashlib.sha256(np.ascontiguousarray(x, dtype).tobytes()).hexdigest()


def bits(seed: str, purpose: int | str, path: str, n: int) -> dict[str, Any]:
    x = Stream(int(seed), purpose, path).bits(n)
    return {"first": [f"{word:016x}" for word in x[:4].tolist()], "sha256": sha(x, "<u8")}


def uniform(seed: str, purpose: int | str, path: str, n: int) -> dict[str, Any]:
    x = Stream(int(seed), purpose, path).uniform(n)
    return {"first": x[:4].tolist(), "sha256": sha(x, "<f8")}


def permutation(seed: str, purpose: int | str, path: str, n: int) -> dict[str, Any]:
    x = Stream(int(seed), purpose, path).permutation(n)
    return {"first": x[:10].tolist(), "sha256": sha(x, "<i8")}


def words(seed: str, start: int, n: int) -> dict[str, Any]:
    x = step_seeds(int(seed), start, start + n)
    return {"first": x[:4], "sha256": sha(np.asarray(x), "<i4")}


def mask(seed: str, step: int, path: str, keep: float, shape: Sequence[int]) -> dict[str, Any]:
    return masked(np.asarray(Key(step_seed(int(seed), step), path).bernoulli(keep, tuple(shape), np)))


def members(seeds: Sequence[str], step: int, path: str, keep: float, shape: Sequence[int]) -> dict[str, Any]:
    column = np.asarray([step_seed(int(seed), step) for seed in seeds], np.int32)
    return masked(np.asarray(Key(column.reshape(-1, 1, 1), path).bernoulli(keep, tuple(shape), np)))


def masked(x: np.ndarray) -> dict[str, Any]:
    """Return the entry of a mask: its first elements, how many are kept, and its SHA-256."""
    first = "".join(str(int(kept)) for kept in x.ravel()[:40])
    return {"first": first, "kept": int(x.sum()), "sha256": sha(x, "u1")}


def uniform_weights(initializer: str, seed: str, path: str, shape: Sequence[int]) -> dict[str, Any]:
    x = weights(initializer, seed, path, shape)
    return {"first": x.ravel()[:4].tolist(), "sha256": sha(x, "<f8"), "sha256 of float32": sha(x, "<f4")}


def normal(seed: str, purpose: int | str, path: str, n: int) -> dict[str, Any]:
    return near(Stream(int(seed), purpose, path).normal(n))


def normal_weights(initializer: str, seed: str, path: str, shape: Sequence[int]) -> dict[str, Any]:
    return near(weights(initializer, seed, path, shape).ravel())


def near(x: np.ndarray) -> dict[str, Any]:
    """Return the entry of numbers whose last digits may differ; the means check those in between."""
    mean, square = math.fsum(x) / len(x), math.fsum(x * x) / len(x)
    return {"first": x[:4].tolist(), "last": x[-2:].tolist(), "mean": mean, "mean of squares": square}


def weights(initializer: str, seed: str, path: str, shape: Sequence[int]) -> np.ndarray:
    drawn: np.ndarray = getattr(initializers, initializer)(
        tuple(shape), Stream(int(seed), Purpose.WEIGHTS, path)
    )
    return drawn


EXACT: dict[str, Callable[..., dict[str, Any]]] = {
    "bits": bits,
    "uniform": uniform,
    "permutation": permutation,
    "words": words,
    "mask": mask,
    "masks of members": members,
    "uniform weights": uniform_weights,
}
NEAR: dict[str, Callable[..., dict[str, Any]]] = {"normal": normal, "normal weights": normal_weights}


def published() -> dict[str, list[dict[str, Any]]]:
    """Return the file: by kind, cases with their answers."""
    document: dict[str, list[dict[str, Any]]] = json.loads(FILE.read_text(encoding="utf-8"))
    return document


def unlike(kind: str, entry: dict[str, Any]) -> list[str]:
    """Return the names of the values of an entry that this package does not reproduce."""
    found = {**EXACT, **NEAR}[kind](**{name: entry[name] for name in CASES[kind][0]})
    if kind in EXACT:
        return [name for name, value in found.items() if value != entry[name]]
    close = {name: np.allclose(value, entry[name], TOLERANCE, TOLERANCE) for name, value in found.items()}
    return [name for name, good in close.items() if not good]


def write() -> None:
    """Publish the answers of new cases, one per line; existing ones stay as they are."""
    answers, before = {**EXACT, **NEAR}, published()
    kinds = []
    for kind, cases in CASES.items():
        entries = [
            next((old for old in before.get(kind, []) if case.items() <= old.items()), None)
            or case | answers[kind](**case)
            for case in cases
        ]
        lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
        kinds.append(f' "{kind}": [\n  ' + ",\n  ".join(lines) + "\n ]")
    FILE.write_text("{\n" + ",\n".join(kinds) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    write()
