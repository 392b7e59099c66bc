"""A training job for a GPU, as it is handed to a cluster.

    python examples/gpu_training.py --backend cupy --run runs/first --epochs 200

The same command again goes on where the last job stopped: when its time was up (SIGTERM), after Ctrl-C, after
a crash, or because more epochs are asked for; model, dtype and rate are those it began with. On the same CPU
it ends in the same bits as one job that was never stopped. What a job knows is in its folder:
`checkpoint.safetensors`, and `history.csv`, a row an epoch.
"""

import argparse
import signal
import sys
from pathlib import Path

import anyback as ab
from anyback.callbacks import Checkpoint, CSVLog
from anyback.checkpoint import newest, versions
from anyback.interrupt import Interrupted, terminate

parser = argparse.ArgumentParser(description="Train on digits; the same command again goes on.")
parser.add_argument("--backend", help="cupy, cupy:1, torch:cuda, jax, numpy, ... (by default: auto)")
parser.add_argument("--run", type=Path, required=True, help="folder of this run")
parser.add_argument("--data", choices=["digits", "mnist"], default="digits")
parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
parser.add_argument("--hidden", type=int, nargs="+", default=[256, 256], metavar="UNITS")
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--epochs", type=int, default=50, help="in all, over all jobs")
options = parser.parse_args()

(x, y), (x_test, y_test) = ab.datasets.mnist() if options.data == "mnist" else ab.datasets.digits()
options.run.mkdir(parents=True, exist_ok=True)
checkpoint = options.run / "checkpoint.safetensors"

if versions(checkpoint):
    trainer = ab.Trainer.load(newest(checkpoint), backend=options.backend)
    print(f"goes on after epoch {trainer.epoch}", flush=True)
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

# A cluster sends SIGTERM some seconds before it takes the machine away. As after Ctrl-C, fit ends its batch.
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
    print(f"stopped within epoch {trainer.epoch + 1}: the same command goes on", file=sys.stderr)
    sys.exit(128 + stop.number)  # 143 after SIGTERM, 130 after Ctrl-C
print({name: round(value, 4) for name, value in trainer.evaluate(x_test, y_test).items()})
