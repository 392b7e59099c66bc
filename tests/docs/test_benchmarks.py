"""The benchmarks: every installed library trains, turns are counted right, tables say what came of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # the benchmarks are no part of the installed package
pytest.importorskip("benchmarks", reason="the benchmarks are in a checkout only")

from anyback.backends import BackendError  # noqa: E402
from benchmarks import __main__ as command  # noqa: E402
from benchmarks import gpu, page, tables  # noqa: E402
from benchmarks.cases import CASES, EXAMPLE, GROWTH, Case, chosen_cases, digits  # noqa: E402
from benchmarks.laps import Laps  # noqa: E402
from benchmarks.measure import MEASURES  # noqa: E402
from benchmarks.peers import OWN, PEERS, chosen_peers, in_chunks  # noqa: E402
from benchmarks.report import FIGURES, document, ratio, records, spread  # noqa: E402
from benchmarks.turns import TURNS, Processes, RunError, race  # noqa: E402

TINY = Case("step", (64, 8, 10), 32, 96)
# A way to train that shares its code with another is left to the measurement where it would take long.
SLOW = {"torch-compile"}


def peer(name: str):
    if why := PEERS[name].absence():
        pytest.skip(why)
    return PEERS[name].train()


# --- libraries ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # of other libraries
@pytest.mark.parametrize("name", [n for n, p in PEERS.items() if "fit" in p.kinds and not p.hides])
def test_every_library_learns_the_digits_in_as_many_epochs_as_it_is_told(name):
    train, laps = peer(name), Laps(2)
    (x, y), (x_test, y_test) = digits()
    outputs = train(CASES["fit"][0], x, y, laps)(x_test)
    assert isinstance(outputs, np.ndarray) and outputs.shape == (359, 10) and outputs.dtype == np.float32
    assert np.mean(outputs.argmax(1) == y_test) > 0.6
    assert name == "sklearn" or len(laps.ends) == 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [n for n, p in PEERS.items() if not p.hides and n not in SLOW])
def test_every_library_is_timed_until_it_is_enough(name):
    laps = Laps(warm=0.01, seconds=0.01)
    peer(name)(TINY, *TINY.data(), laps)
    assert len(laps.ends) >= 2 and laps.ends[-1] - laps.ends[0] >= 0.02 and laps.median() > 0


def test_a_process_of_its_own_prints_its_figures():
    figures = Processes(warm=0.01, seconds=0.01, pause=0.0)(OWN, TINY)
    assert 0 < figures["step"] < figures["process"]


def test_what_a_process_fails_of_is_one_line():
    with pytest.raises(RunError, match=r"^\S.* longer than 0\.01 s$"):
        Processes(pause=0.0, timeout=0.01)(OWN, TINY)
    with pytest.raises(RunError, match=r"^usage: [^\n]+$"):
        Processes(pause=0.0)("nobody", TINY)


def test_hidden_libraries_cannot_be_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "llvmlite", None)  # given back afterwards
    PEERS["anyback-numpy-plain"].train()
    with pytest.raises(ImportError):
        import llvmlite  # noqa: F401


def test_many_rows_are_predicted_in_pieces():
    sizes = []
    predict = in_chunks(lambda x: sizes.append(len(x)) or x)
    x = np.arange(25_000)
    assert np.array_equal(predict(x), x) and predict(x[:1]) == [0]
    assert sizes == [10_000, 10_000, 5_000, 1]


# --- cases and measures --------------------------------------------------------------------------------


def test_cases_have_names_and_every_kind_is_whole():
    assert set(CASES) == set(TURNS) == set(FIGURES) == set(tables.KINDS) == set(MEASURES)
    for case in (case for cases in CASES.values() for case in cases):
        assert Case.parse(case.name) == case
        assert case.kind not in ("step", "growth") or case.samples % case.batch == 0  # every batch is full
    assert all(CASES["growth"].count(case) == 1 for axis in GROWTH.values() for case in axis.values())
    assert TINY.parameters == 65 * 8 + 9 * 10 and TINY.steps == 3
    assert CASES["fit"][0].samples == len(digits()[0][0])
    with pytest.raises(ValueError, match=r"got 'step/64'"):
        Case.parse("step/64")


def test_patterns_choose():
    assert chosen_cases(["fit", "step/784-2*"]) == [CASES["step"][2], CASES["fit"][0]]
    assert chosen_peers(["torch-[af]*", OWN]) == [OWN, "torch-adam", "torch-fused"]
    for choose in (chosen_cases, chosen_peers):
        with pytest.raises(ValueError, match="got 'nothing'"):
            choose(["nothing"])


def test_laps_leave_out_what_came_before_all_was_warm(monkeypatch):
    clock = iter([10.0, 11.0, 11.5, 11.7, 12.0])  # the first epoch compiled for seconds
    monkeypatch.setattr("benchmarks.laps.perf_counter", lambda: next(clock))
    laps = Laps(warm=1.0, seconds=0.6)
    assert [laps.lap() for _ in range(5)] == [False, False, False, True, True]
    assert laps.median() == pytest.approx(0.3)


def test_memory_is_that_of_the_process_itself():
    ballast = np.ones(30_000_000)  # what the process that starts another one holds is not the other's
    figures = Processes(pause=0.0)(OWN, Case("memory", (64, 8, 10), 512, 100_000))
    assert 10e6 < figures["import"] < min(200e6, ballast.nbytes)
    assert 64 * 4 * 100_000 < figures["training"] < 400e6


def test_predictions_are_timed_for_one_row_and_a_million():
    sizes = []
    predict = lambda x: sizes.append(len(x))  # noqa: E731
    figures = MEASURES["predict"](lambda *_: predict, Case("predict", (1, 2), 8, 8), 0.0, 0.0)
    assert set(sizes) == {1, 1_000_000} and set(figures) == {"row", "million"}


# --- turns and reports ---------------------------------------------------------------------------------

STEP = CASES["step"][0]
PACE = {"torch-gpu": 9.0, OWN: 2.0, "products": 1.0, "jax-ahead": 3.0, "sklearn": 40.0, "thinc": 5.0}
EVERY = {"step": 1e-6, "fit": 1.0, "accuracy": 0.97, "process": 2.0, "row": 1e-5, "million": 0.5}
EVERY |= {"import": 30e6, "training": 99e6}


def pretended(kinds=("step",), turns=3):
    """A race of libraries whose figures are known: turn i takes 1 + i / 10 times as long, and Thinc fails."""
    seen: list[tuple[str, str]] = []

    def run(name, case):
        turn = seen.count((name, case.name))
        seen.append((name, case.name))
        if name == "thinc":
            raise RunError("out of thread")
        return {figure: value * PACE[name] * (1 + turn / 10) for figure, value in EVERY.items()}

    found = race(list(PACE), chosen_cases(list(kinds)), dict.fromkeys(TURNS, turns), run)
    return found, [name for name, case in seen if case == STEP.name]


def test_turns_begin_with_another_library_and_leave_out_what_failed():
    cases = {"step": CASES["step"][:1]}
    found, order = pretended([cases["step"][0].name])
    others = ["products", "jax-ahead", "sklearn"]
    assert order == [OWN, *others, "thinc", *others, OWN, *others[1:], OWN, others[0]]
    assert found.turns[STEP, "thinc"] == [None] * 3
    assert found.failures == {f"thinc, {STEP.name}": "out of thread"}


def test_ctrl_c_keeps_what_there_is():
    def run(name, case):
        if name == "jax-ahead":
            raise KeyboardInterrupt
        return EVERY

    said = []
    found = race([OWN, "jax-ahead"], [STEP], TURNS, run, said.append)
    assert list(found.turns) == [(STEP, OWN)] and said[-1].startswith("interrupted")


def test_medians_spreads_and_ratios():
    assert spread([3.0, None, 1.0, 8.0]) == {"median": 3.0, "min": 1.0, "max": 8.0}
    # of the medians 6 / 2, and of the turns that both did 4 / 1 and 6 / 2
    assert ratio([4.0, 6.0, 8.0], [1.0, 2.0, None]) == {"median": 4.0, "min": 3.0, "max": 4.0}
    assert ratio([1.0], []) is None
    (record,) = (r for r in records(pretended()[0]) if r["peer"] == "jax-ahead" and r["case"] == STEP.name)
    assert record["turns"] == pytest.approx([3e-6, 3.3e-6, 3.6e-6])
    assert record["ratio"] == pytest.approx({"median": 1.5, "min": 1.5, "max": 1.5})


def test_the_tables_of_every_kind():
    results = json.loads(json.dumps(document(pretended(CASES)[0], {"keras": "keras not installed"}, {})))
    assert tables.measured_kinds(results) == list(CASES)
    text = " ".join(tables.tables(results, "step").split())
    assert "| scikit-learn | 44.0 (40.0 to 48.0) | 44.0" in text
    assert "| scikit-learn | 20.0 (20.0 to 20.0) | 20.0" in text
    assert text.count("| NumPy's matrix products alone |") == 2 and text.count("| anyback, numpy |") == 1
    assert "medians of 3 turns" in text and f"numpy {np.__version__}" in text
    for kind in CASES:
        grid = [line for line in tables.tables(results, kind).splitlines() if line.startswith("|")]
        assert grid and "Thinc" not in "".join(grid)
    assert "depth 16" in tables.tables(results, "growth")
    assert tables.absences(results).startswith("keras did not race: keras not installed\nthinc, step/")


def test_numbers_keep_three_digits():
    values = (0.12345, 1.0, 12.0, 99.99, 1234.5)
    assert [tables.number(value) for value in values] == ["0.123", "1.00", "12.0", "100", "1,234"]


def test_the_page_keeps_its_prose_and_takes_every_kind(tmp_path):
    pytest.importorskip("matplotlib")
    before = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    copy = tmp_path / "speed.md"
    copy.write_text(before, encoding="utf-8")
    results = document(pretended(CASES, turns=1)[0], {}, {})
    (tmp_path / "gpu.md").write_text((ROOT / "docs" / "gpu.md").read_text(encoding="utf-8"), encoding="utf-8")
    written = page.write(results, tmp_path)
    once = copy.read_text(encoding="utf-8")
    assert {path.name for path in written} == {"speed.md", "gpu.md", "speed-step.png", "speed-growth.png"}
    assert once.startswith(before.partition("<!--")[0]) and once.endswith(before.rpartition("-->")[2])
    every = once + (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert all(f"## {kind.title}\n" in every for kind in tables.KINDS.values())
    page.write(results, tmp_path)
    assert copy.read_text(encoding="utf-8") == once
    with pytest.raises(ValueError, match="must hold the marks"):
        page.filled("no marks", "step", "")


# --- on a GPU ------------------------------------------------------------------------------------------


def test_the_tests_of_a_backend_are_counted(tmp_path):
    (tmp_path / "test_some.py").write_text(
        "import os, pytest\n"
        "def test_backend(): assert os.environ['ANYBACK_BACKEND'] == 'torch:cuda'\n"
        "def test_right(): pass\n"
        "def test_wrong(): assert 1 == 2\n"
        "@pytest.mark.skip\n"
        "def test_left(): pass\n"
    )
    found = gpu.check("torch:cuda", "some", [tmp_path], tmp_path / "log.txt", default="torch:cuda")
    assert (found.passed, found.failed, found.skipped) == (2, 1, 1)
    assert [name.partition("::")[2] for name in found.failures] == ["test_wrong"]
    assert "1 == 2" in (tmp_path / "log.txt").read_text()
    broken = gpu.check("cupy", "none", [tmp_path / "nothing.py"], tmp_path / "log2.txt")
    assert broken.failed == 1 and "log2.txt" in broken.failures[0]
    text = " ".join(gpu.table([found, broken]).split())
    assert "| torch:cuda | some | 2 | 1 | 1 |" in text and "failed: pytest ended with status 4" in text


def test_without_a_gpu_the_command_says_what_was_found(capsys, monkeypatch):
    reason = "backend 'cupy': no CUDA GPU"

    def refuse(name):
        raise BackendError(reason)

    monkeypatch.setattr(gpu, "backend", refuse)
    with pytest.raises(SystemExit, match="no GPU was found"):
        gpu.main(["--check"])
    assert capsys.readouterr().err.count(reason) == len(gpu.BACKENDS)


# --- the command ---------------------------------------------------------------------------------------


def test_the_command_measures_writes_and_says_who_is_absent(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(type(PEERS[OWN]), "absence", lambda self: "gone" if self.needs else None)
    quick = ["--turns", "1", "--warm", "0.01", "--seconds", "0.01", "--pause", "0"]
    command.main(["--cases", EXAMPLE, "--peers", "products", OWN, "thinc", "--output", str(tmp_path), *quick])
    printed = capsys.readouterr()
    assert "thinc does not race: gone" in printed.err and "thinc did not race: gone" in printed.out
    results = json.loads((tmp_path / "results.json").read_text())
    assert {record["peer"] for record in results["results"]} == {"products", OWN}
    assert results["versions"]["numpy"] == np.__version__ and results["machine"]["cores"] >= 1
    again = tmp_path / "again"
    command.main(["--from", str(tmp_path / "results.json"), "--output", str(again)])
    assert (again / "tables.md").read_text() == (tmp_path / "tables.md").read_text()


def test_the_command_explains_itself(capsys):
    command.main(["--list", "--peers", "jax-*", "--cases", "cold"])
    assert capsys.readouterr().out.splitlines()[0] == CASES["cold"][0].name
    for arguments in (["--help"], ["--cases", "nothing"], ["--turns", "0"]):
        with pytest.raises(SystemExit):
            command.main(arguments)
    assert "got 'nothing'" in capsys.readouterr().err
