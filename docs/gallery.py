"""The gallery of examples: runs every script, in README's order, and shows what it printed and saved."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PICTURES = tempfile.TemporaryDirectory()
ORDER = re.findall(r"\((\w+)\.py\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))


def place(name: str) -> int:
    """Where a script stands in the list of examples/README.md."""
    return ORDER.index(Path(name).stem)


def arguments(conf: Any, script: Any) -> list[str]:
    """What a script is run with: its pictures stay out of the checkout."""
    return ["--backend", "numpy", "--output", PICTURES.name]


def pictures(block: Any, variables: dict[str, Any], conf: dict[str, Any]) -> str:
    """Show what a block of code has saved."""
    saved = sys.modules["textbook"].pictures if "textbook" in sys.modules else []
    shown = []
    while saved:
        path = variables["image_path_iterator"].next()
        Path(path).write_bytes(saved.pop(0).read_bytes())
        shown.append(path)
    return figure_rst(shown, conf["src_dir"])


def forget(conf: Any, name: str) -> None:
    """Let the next script read its own command line."""
    sys.modules.pop("textbook", None)


SETTINGS: dict[str, Any] = {
    "examples_dirs": str(EXAMPLES),
    "gallery_dirs": "auto_examples",
    "filename_pattern": "",
    "ignore_pattern": r"(textbook|gpu_training)\.py",
    "within_subsection_order": "gallery.place",
    "image_scrapers": ("gallery.pictures",),
    "reset_argv": "gallery.arguments",
    "reset_modules": ("matplotlib", "gallery.forget"),
    "capture_repr": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 3600,
    "write_computation_times": False,
    "show_signature": False,
    "recommender": {"enable": False},
}
