"""A training job for a GPU cluster.

    python examples/gpu_training.py --backend cupy --run runs/first --epochs 200

The same command resumes where the last job stopped: when its time was up (SIGTERM), after Ctrl-C, after
a crash, or to train for more epochs; model, dtype and learning rate are those of the first job. On the same
CPU the result is bit-identical to that of one uninterrupted job. The folder of the run contains
`checkpoint.safetensors` and `history.csv`, a row per epoch.
"""

import argparse
import signal
import sys
from pathlib import Path

import anyback as ab
from anyback.callbacks import Checkpoint, CSVLog
from anyback.checkpoint import newest, versions
from anyback.interrupt import Interrupted, terminate

parser = argparse.ArgumentParser(description="Train on digits; the same command resumes.")
parser.add_argument("--backend", help="cupy, cupy:1, torch:cuda, jax, numpy, ... (by default: auto)")
parser.add_argument("--run", type=Path, required=True, help="folder of this run")
parser.add_argument("--data", choices=["digits", "mnist"], default="digits")
parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
parser.add_argument("--hidden", type=int, nargs="+", default=[256, 256], metavar="UNITS")
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--epochs", type=int, default=50, help="total number, over all jobs")
options = parser.parse_args()

(x, y), (x_test, y_test) = ab.datasets.mnist() if options.data == "mnist" else ab.datasets.digits()
options.run.mkdir(parents=True, exist_ok=True)
checkpoint = options.run / "checkpoint.safetensors"

if versions(checkpoint):
    trainer = ab.Trainer.load(newest(checkpoint), backend=options.backend)
    print(f"resumes after epoch {trainer.epoch}", flush=True)
else:
    trainer = ab.Trainer(
        ab.MLP(options.hidden, 10, dropout=0.1),
        "softmax_cross_entropy",
        ab.AdamW(lr=options.lr),
        metrics=["accuracy"],
        dtype=options.dtype,
        backend=options.backend,
    )
print(f"on {trainer.backend.name} ({trainer.backend.reason})", flush=True)

# A cluster sends SIGTERM some seconds before it ends the job. As after Ctrl-C, fit finishes its batch.
signal.signal(signal.SIGTERM, terminate)
try:
    trainer.fit(
        x,
        y,
        epochs=options.epochs,
        batch_size=options.batch_size,
        validation_split=0.1,
        callbacks=[Checkpoint(checkpoint, keep=2), CSVLog(options.run / "history.csv")],
        verbose=2,
    )
except Interrupted as stop:
    trainer.save(checkpoint, keep=2)
    print(f"stopped within epoch {trainer.epoch + 1}: the same command resumes", file=sys.stderr)
    sys.exit(128 + stop.number)  # 143 after SIGTERM, 130 after Ctrl-C
print({name: round(value, 4) for name, value in trainer.evaluate(x_test, y_test).items()})
