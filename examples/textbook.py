"""What the examples share: command line, plot style, and the output folder."""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("JAX_ENABLE_X64", "1")  # read when JAX is imported: all examples compute in float64

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from PIL import Image

import anyback as ab

plt.style.use(Path(__file__).with_suffix(".mplstyle"))

_parser = argparse.ArgumentParser(description="An example of anyback.")
_parser.add_argument("--backend", help="numpy, cupy, torch, jax, array_api_strict, ... (default: auto)")
_parser.add_argument("--full", action="store_true", help="the full size, in scripts that support it")
_parser.add_argument(
    "--output", type=Path, default=Path("pictures"), help="folder for the plots (./pictures)"
)
_arguments = _parser.parse_args()

try:
    backend = ab.backend(_arguments.backend)
    _arguments.output.mkdir(parents=True, exist_ok=True)
    if not os.access(_arguments.output, os.W_OK):
        raise PermissionError(f"cannot write plots to {_arguments.output}")
except (ValueError, ab.BackendError, OSError) as error:
    _parser.exit(2, f"{_parser.prog}: error: {error}\n")
full = _arguments.full
pictures = []


def save(figure, name=""):
    """Save a plot as SCRIPT.png, or as SCRIPT-name.png, in the output folder."""
    script = Path(sys.argv[0]).stem
    path = _arguments.output / f"{script}-{name}.png" if name else _arguments.output / f"{script}.png"
    figure.savefig(path)
    with Image.open(path) as drawn:  # 64 colours are enough, and a third of the bytes
        few = drawn.convert("RGB").quantize(64, Image.Quantize.MEDIANCUT, kmeans=5, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    pictures.append(path.resolve())
