"""Draws are those that docs/draws.json publishes, on every backend, and those of dropout pass for random."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import anyback as ab
from anyback.arrays import device, namespace
from anyback.random import Key, Purpose, Stream, step_seed, step_seeds

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # the benchmarks are no part of the installed package
pytest.importorskip("benchmarks", reason="the benchmarks are in a checkout only")
from benchmarks.reliability import _answers, draws  # noqa: E402

PUBLISHED = _answers.published()
ENTRIES = [(kind, i) for kind, cases in PUBLISHED.items() for i in range(len(cases))]
MASKS = PUBLISHED["mask"]


# --- known answers -------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "i"), ENTRIES)
def test_draws_are_those_published(kind, i):
    assert not _answers.unlike(kind, PUBLISHED[kind][i])


def test_every_kind_of_draw_is_published():
    assert list(PUBLISHED) == [*_answers.EXACT, *_answers.NEAR] == list(_answers.CASES)
    for kind, cases in json.loads(json.dumps(_answers.CASES)).items():
        assert [{name: entry[name] for name in cases[0]} for entry in PUBLISHED[kind]] == cases


@pytest.mark.parametrize("kind", PUBLISHED)
def test_an_altered_answer_is_found(kind):
    entry = PUBLISHED[kind][0]
    for name in entry.keys() - _answers.CASES[kind][0].keys():
        old = entry[name]
        wrong = old * 1.0001 if isinstance(old, float) else 7 if isinstance(old, int) else old[::-1]
        assert _answers.unlike(kind, entry | {name: wrong}) == [name]


def words_of(entry):
    return [step_seed(int(seed), entry["step"]) for seed in entry.get("seeds", [entry.get("seed")])]


@pytest.mark.parametrize("entry", [*MASKS, *PUBLISHED["masks of members"]], ids=lambda entry: entry["path"])
def test_masks_are_those_published_on_every_library(library, entry):
    like = library.array(np.zeros(1), np.float32)
    words = library.array(np.reshape(words_of(entry), (-1, 1, 1)), np.int32)
    word = words if "seeds" in entry else words_of(entry)[0]
    shape = tuple(entry["shape"])
    mask = Key(word, entry["path"]).bernoulli(entry["keep"], shape, namespace(like), device(like))
    if library.has_values:
        found = _answers.masked(library.host(mask))
        assert found == {name: entry[name] for name in found}


def test_training_takes_the_samples_in_the_order_published(backend_name):
    """One sample a step, each with a weight and a learning rate of its own: the weights say when it came."""
    split, orders = PUBLISHED["permutation"][2], PUBLISHED["permutation"][:2]
    model = ab.Sequential([ab.Dense(1, bias=False, initializer="zeros")])
    optimizer = ab.SGD(lambda t: t + 1.0)
    trainer = ab.Trainer(
        model, "mean_squared_error", optimizer, backend=backend_name, dtype="float64", seed=int(split["seed"])
    )
    before = np.zeros(50)
    part = Stream(int(split["seed"]), Purpose.SPLIT).permutation(50)
    for epoch, entry in enumerate(orders):
        trainer.fit(np.eye(50), np.ones(50), epochs=epoch + 1, batch_size=1, validation_split=0.2, verbose=0)
        w = trainer.parameters()["0.weight"][0]
        step = np.rint((w - before) / (2.0 * (1.0 - before))) - 40 * epoch
        assert sorted(np.flatnonzero(step <= 0)) == sorted(split["first"]), "those held out"
        order = np.argsort(step[part[10:]])
        assert order[:10].tolist() == entry["first"] and _answers.sha(order, "<i8") == entry["sha256"]
        before = w


def test_training_drops_what_is_published(backend_name):
    """Targets of one output a sample make of the first gradient the mask itself."""
    entry = MASKS[0]
    model = ab.Sequential([ab.Dropout(1.0 - entry["keep"]), ab.Dense(40, bias=False, initializer="zeros")])
    options = {"backend": backend_name, "dtype": "float64", "seed": int(entry["seed"])}
    trainer = ab.Trainer(model, "mean_squared_error", ab.SGD(1.0), **options)
    trainer.fit(np.ones((40, 40)), np.eye(40), batch_size=None, verbose=0)
    found = _answers.masked(trainer.parameters()["1.weight"] > 0)
    assert found == {name: entry[name] for name in found}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["uniform weights", "normal weights"])
def test_initial_weights_are_those_published(backend_name, kind, dtype):
    for entry in PUBLISHED[kind]:
        if entry["shape"] != [128, 64]:
            continue
        dense = ab.Dense(128, initializer=entry["initializer"])
        layers = (
            [dense]
            if kind == "uniform weights"
            else [*[ab.Flatten()] * 4, ab.Residual([dense, ab.Dense(64)])]
        )
        options = {"backend": backend_name, "dtype": dtype, "seed": int(entry["seed"])}
        trainer = ab.Trainer(ab.Sequential(layers), "mean_squared_error", **options).build(64)
        w = trainer.parameters()[entry["path"]]
        if kind == "normal weights":
            np.testing.assert_allclose(
                w.ravel()[:4], entry["first"], rtol=1e-6 if dtype == "float32" else 1e-12
            )
        elif dtype == "float32":
            assert _answers.sha(w, "<f4") == entry["sha256 of float32"]
        else:
            assert _answers.sha(w, "<f8") == entry["sha256"]


# --- the page ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page():
    """The names of the program on the page, which uses neither NumPy nor this package."""
    text = (ROOT / "docs" / "draws.md").read_text(encoding="utf-8")
    program = text.split("```python\n")[1].split("```\n")[0]
    assert "numpy" not in program and "anyback" not in program
    names = {}
    exec(program, names)
    return names


@pytest.mark.parametrize("entry", PUBLISHED["bits"] + PUBLISHED["normal"], ids=lambda entry: entry["path"])
def test_the_page_says_how_numbers_are_made(page, entry):
    seed, purpose, path, n = int(entry["seed"]), entry["purpose"], entry["path"], entry["n"]
    draw, words = Stream(seed, purpose, path), page["bits"](seed, purpose, path, n + n % 2)
    assert words[:n] == draw.bits(n).tolist()
    assert page["uniform"](words)[:n] == draw.uniform(n).tolist()
    assert page["permutation"](words[:n]) == draw.permutation(n).tolist()
    np.testing.assert_allclose(page["normal"](words)[:n], draw.normal(n), rtol=1e-12, atol=1e-12)


def test_the_page_says_how_masks_are_made(page):
    for entry in PUBLISHED["words"]:
        seed, start, n = int(entry["seed"]), entry["start"], entry["n"]
        assert page["step_seeds"](seed, start, n) == step_seeds(seed, start, start + n)
    for entry in MASKS:
        (word,) = page["step_seeds"](int(entry["seed"]), entry["step"], 1)
        mask = page["bernoulli"](word, entry["path"], entry["keep"], int(np.prod(entry["shape"])))
        assert _answers.sha(np.asarray(mask), "u1") == entry["sha256"]


# --- the dropout hash ----------------------------------------------------------------------------


def test_dropout_passes_for_random():
    failed = {name: p for name, p in draws.judged(draws.levels()) if p < draws.LIMIT}
    assert not failed


@pytest.mark.parametrize("name", draws.BROKEN)
def test_a_hash_that_is_broken_on_purpose_fails(name):
    failed = {name for name, p in draws.judged(draws.BROKEN[name]()) if p < draws.LIMIT}
    assert failed and (not name.startswith("same") or f"pairs of {name.split()[1]}" in failed)


def test_probabilities_of_known_deviations():
    assert draws.beyond(1.959964) == pytest.approx(0.05, rel=1e-5)
    levels = np.arange(16, dtype=np.uint8).repeat(100)
    assert draws.evenly(levels[None], 16) < 1e-5, "too even"
    levels[:43] = 1
    # Chi-square is 36.98; with 15 degrees of freedom 0.126 % lie beyond it.
    assert draws.evenly(levels[None], 16) == pytest.approx(2 * 0.00126, rel=0.1)
