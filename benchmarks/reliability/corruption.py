"""Altered and hostile checkpoints: each is refused or provably the same trainer, and no code in them runs."""

from __future__ import annotations

import io
import json
import pickle
import random
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import anyback as ab
from anyback.checkpoint import files
from benchmarks.reliability import Settings, outcome

MUTATIONS, SEALED, MEGABYTES = 10_000, 2_000, 50

# Replacements of a value in a header or a description.
ODD: list[Any] = [
    None, True, False, 0, -1, 2, 3.5, 1e308, float("inf"), float("nan"), 2**40, 2**63, 10**400, "", "w",
    "F32", "../../w", "/etc/passwd", "a\nb", "\x00", [], {}, [0], [2**40, 2**40], [None], [[[]]], {"a": 1},
    {"is": "os.system"}, {"is": "layers.MLP"}, {"is": "layers.Dense", "units": 2**30}, {"missing": "a\nb"},
]  # fmt: skip


def small() -> bytes:
    """Return a small checkpoint that uses every feature."""
    x = np.random.default_rng(0).normal(size=(12, 2))
    model = ab.MLP([2], 3, activation="tanh", norm="batch", dropout=0.1)
    trainer = ab.Trainer(
        model, "softmax_cross_entropy", ab.Momentum(), backend="numpy", metrics=["accuracy"], standardize=True
    )
    trainer.fit(x, np.arange(12) % 3, epochs=2, verbose=0, callbacks=[ab.callbacks.EarlyStopping("loss")])
    with tempfile.TemporaryDirectory() as folder:
        trainer.save(Path(folder) / "run")
        return (Path(folder) / "run").read_bytes()


def flips(data: bytes) -> Iterator[bytes]:
    """Yield `data` with each of its bits flipped in turn."""
    for place in range(len(data)):
        for bit in range(8):
            altered = bytearray(data)
            altered[place] ^= 1 << bit
            yield bytes(altered)


def truncations(data: bytes) -> Iterator[bytes]:
    """Yield every truncation of `data`."""
    return (data[:length] for length in range(len(data)))


def mutations(data: bytes, count: int, draw: random.Random) -> Iterator[bytes]:
    """Yield altered copies: bytes changed, pieces moved, and headers edited as JSON."""
    return (draw.choice((_bytes, _splice, _length, _edit, _edit))(data, draw) for _ in range(count))


def sealed(data: bytes, count: int, draw: random.Random) -> Iterator[bytes]:
    """Yield checkpoints with an edited description or odd tensors and a valid checksum."""
    from safetensors.numpy import load

    text, arrays = _header(data)["__metadata__"]["anyback"], load(data)
    for _ in range(count):
        description, tensors = json.loads(text), dict(arrays)
        if draw.random() < 0.8:
            _change(description, draw)
        else:
            name = draw.choice(sorted(tensors))
            odd = [np.zeros(0), np.zeros((2, 2)), np.ones(3, np.int8), np.full(tensors[name].shape, np.nan)]
            tensors[draw.choice([name, "../../w", "x"])] = draw.choice([*odd, tensors.pop(name)])
        yield seal(tensors, json.dumps(description))


def seal(arrays: dict[str, np.ndarray], text: str) -> bytes:
    """Return a file with a valid checksum, whatever its content."""
    from safetensors.numpy import save

    return bytes(save(arrays, {"anyback": text, "sha256": files._digest(arrays, text)}))


def hostile(data: bytes, canary: Path) -> dict[str, bytes]:
    """Return hostile files by name; any code in them would create the file `canary`."""
    code = _Code(canary)
    objects = np.array([code, None], dtype=object)
    header, body = _header(data), data[8 + int.from_bytes(data[:8], "little") :]
    text = json.dumps(header)[1:]
    description = json.loads(header["__metadata__"]["anyback"])
    layers = description["model"]["layers"]
    bomb = {**description["model"], "layers": [{**layers[0], "units": 2**30, "in_shape": None}, *layers[1:]]}
    deep: Any = 1
    for _ in range(400):
        deep = {"is": "layers.Residual", "inner": deep}

    def described(**changes: Any) -> bytes:
        from safetensors.numpy import load

        return seal(load(data), json.dumps({**description, **changes}))

    files = {f"pickle of protocol {n}": pickle.dumps(code, n) for n in range(pickle.HIGHEST_PROTOCOL + 1)}
    return files | {
        ".npy of objects": _written(np.save, objects),
        ".npy of numbers": _written(np.save, np.ones(3)),
        ".npz of objects": _written(np.savez, objects),
        ".npz of numbers": _written(np.savez, np.ones(3)),
        ".pt file": _zipped({"run/data.pkl": pickle.dumps(code), "run/version": b"3\n"}),
        "zip bomb": _zipped({"w": bytes(100_000_000)}),
        "checkpoint in a zip": _zipped({"run": data}),
        "header length of 2^60": (1 << 60).to_bytes(8, "little") + data[8:],
        "header length of all": (len(data) - 8).to_bytes(8, "little") + data[8:],
        "deeply nested header": _framed('{"__metadata__":' + "[" * 200_000 + "]" * 200_000 + "}"),
        "deeply nested description": seal({"w": np.ones(2)}, "[" * 200_000 + "]" * 200_000),
        "deeply nested model": described(model=deep),
        "tensor twice": _framed('{"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},' + text, body),
        "metadata twice": _framed('{"__metadata__":{},' + text, body),
        "description's member twice": seal({"w": np.ones(2)}, '{"format": 1, "format": 1}'),
        "path-like name": seal({"../../w": np.ones(2)}, json.dumps(description)),
        "model of 2^30 units": described(model=bomb),
        "description names os.system": described(loss={"is": "os.system", "options": {"command": "true"}}),
        "description names builtins.exec": described(model={"is": "builtins.exec"}),
    }


def judge(data: bytes, altered: Iterable[bytes], folder: Path, *, valid: bool = False) -> Counter[str]:
    """Load altered files and count the outcomes: "refused", "identical" or, for failures, others.

    With `valid`, for valid checksums, any trainer that can be saved again is "a trainer".
    """
    found: Counter[str] = Counter()
    path, again = folder / "run", folder / "again"
    path.write_bytes(data)
    original = files.read(path)
    for content in altered:
        path.write_bytes(content)
        try:
            trainer = ab.Trainer.load(path, backend="numpy")
            trainer.save(again)
            same = _equal(files.read(again), original)
            found["identical" if same else "a trainer" if valid else "silent: another trainer"] += 1
        except ab.CheckpointError as error:
            found["refused" if "\n" not in str(error) else "error of several lines"] += 1
        except Exception as error:
            found[f"untyped: {type(error).__name__}"] += 1
    return found


def run(settings: Settings) -> list[dict[str, Any]]:
    """Try every bit flip and truncation, 10,000 mutations and the hostile files, in a separate process."""
    if not find_spec("resource"):
        return [outcome("checkpoints", 0, 0, skipped="this system does not tell the memory of a process")]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found, grown = pool.submit(_trials, settings.kills / 200, settings.seed).result()
    rows = [
        outcome(
            f"checkpoints: {part}",
            sum(n for kind, n in kinds.items() if kind in _GOOD),
            sum(n for kind, n in kinds.items() if kind not in _GOOD),
            **kinds,
        )
        for part, kinds in found.items()
    ]
    held = grown <= MEGABYTES
    return [*rows, outcome("memory in all of these", int(held), int(not held), **{"MB more": grown})]


_GOOD = ("refused", "identical", "a trainer")


def _trials(scale: float, seed: int) -> tuple[dict[str, dict[str, int]], float]:
    draw, data = random.Random(seed), small()
    share = min(1.0, scale)

    def some(altered: Iterable[bytes]) -> Iterator[bytes]:
        return (content for content in altered if share == 1.0 or draw.random() < share)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        canary = folder / "canary"
        files = hostile(data, canary)
        judge(data, [data, b"", files["model of 2^30 units"][:-1]], folder)
        before = _resident()
        details = {
            "bit flips": judge(data, some(flips(data)), folder),
            "truncations": judge(data, some(truncations(data)), folder),
            "mutations": judge(data, mutations(data, round(MUTATIONS * scale), draw), folder),
            "valid checksums": judge(data, sealed(data, round(SEALED * scale), draw), folder, valid=True),
            "hostile files": judge(data, files.values(), folder),
        }
        grown = _resident() - before
        ran = "ran" if canary.exists() else "refused"
        details["code to be run"] = Counter({ran: 1})
    # These must be refused, even if the trainer would be the same.
    details["hostile files"]["taken"] = details["hostile files"].pop("identical", 0)
    return {part: {k: n for k, n in kinds.items() if n} for part, kinds in details.items()}, grown


def _equal(a: Any, b: Any) -> bool:
    """Return whether two checkpoints are equal: descriptions as JSON, arrays bit for bit."""
    (arrays, text), (others, other_text) = a, b
    return (
        json.dumps(text) == json.dumps(other_text)
        and arrays.keys() == others.keys()
        and all(array.tobytes() == others[name].tobytes() for name, array in arrays.items())
    )


def _resident() -> float:
    """Return the peak memory of this process, in MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


class _Code:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def _header(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + size])
    return header


def _framed(header: str, body: bytes = b"") -> bytes:
    text = header.encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + body


def _written(save: Any, array: np.ndarray) -> bytes:
    file = io.BytesIO()
    save(file, array)
    return file.getvalue()


def _zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def _bytes(data: bytes, draw: random.Random) -> bytes:
    altered = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        altered[draw.randrange(len(data))] ^= draw.randrange(1, 256)
    return bytes(altered)


def _splice(data: bytes, draw: random.Random) -> bytes:
    a, b = sorted(draw.choices(range(len(data) + 1), k=2))
    place = draw.randrange(len(data))
    piece = draw.choice((data[a:b], b"", draw.randbytes(b - a), bytes(b - a), data[a:b][::-1]))
    return draw.choice((data[:a] + piece + data[b:], data[:place] + piece + data[place:]))


def _length(data: bytes, draw: random.Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    odd = draw.choice((1 << draw.randrange(64), size + draw.randrange(-9, 10), draw.randrange(1 << 64)))
    return max(0, odd).to_bytes(8, "little") + data[8:]


def _edit(data: bytes, draw: random.Random) -> bytes:
    """Edit the header as JSON: values, names, order, spaces, the description within."""
    header, body = _header(data), data[8 + int.from_bytes(data[:8], "little") :]
    how = draw.randrange(6)
    if how == 0:  # equivalent, and may be accepted
        members = list(header.items())
        draw.shuffle(members)
        return _framed(json.dumps(dict(members), indent=draw.choice((None, 1))), body)
    if how == 1:
        description = json.loads(header["__metadata__"]["anyback"])
        _change(description, draw)
        header["__metadata__"]["anyback"] = json.dumps(description)
    elif how == 2:
        a, b = draw.sample(sorted(header), 2)
        header[a], header[b] = header[b], header[a]
    elif how == 3:
        twice = json.dumps({draw.choice(sorted(header)): draw.choice(ODD)})[1:-1]
        text = json.dumps(header)
        return _framed(draw.choice((f"{{{twice},{text[1:]}", f"{text[:-1]},{twice}}}")), body)
    else:
        _change(header, draw)
    return _framed(json.dumps(header), body)


def _change(tree: Any, draw: random.Random) -> None:
    """Replace, drop, rename or add a member somewhere in JSON values, in place."""
    places = list(_places(tree))
    node, key = draw.choice(places)
    how = draw.random()
    if how < 0.6:
        node[key] = draw.choice(ODD)
    elif how < 0.75:
        del node[key]
    elif isinstance(node, dict):
        node[draw.choice(["x", "../../w", "w", "is", ""])] = node.pop(key) if how < 0.9 else draw.choice(ODD)
    else:
        node.append(draw.choice(ODD))


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])
