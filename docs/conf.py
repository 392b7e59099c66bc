"""Sphinx configuration: `sphinx-build -W docs docs/_build`."""

import re
import sys
from pathlib import Path
from typing import Any

here = Path(__file__).parent
sys.path[:0] = [str(here), str(here.parent)]

import gallery  # noqa: E402
import reference  # noqa: E402

import anyback  # noqa: E402

reference.write(here / "reference")

project = "anyback"
author = "The anyback developers"
project_copyright = f"2026, {author}"
release = anyback.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
myst_heading_anchors = 2  # links such as training.md#class-and-sample-weights
suppress_warnings = ["ref.python"]  # the x of a type such as (x, y) is no name to be looked up
sphinx_gallery_conf = gallery.SETTINGS
napoleon_google_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
html_theme = "furo"
html_title = "anyback"
html_static_path = ["_static"]
html_css_files = ["gallery.css"]


def shapes(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep the asterisk of a shape such as (..., *m) or (K, *shape) from starting an emphasis."""
    for i, line in enumerate(lines):
        pieces = line.split("``")
        pieces[::2] = [re.sub(r"(\((?:\.\.\.|\w+), )\*", r"\1\\*", piece) for piece in pieces[::2]]
        lines[i] = "``".join(pieces)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", shapes)
