"""The one thing that changes: a model's weights, the optimizer's slots, and how far training has come."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from itertools import islice
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback import activations, checkpoint, losses, optimizers
from anyback import metrics as metric_room
from anyback.arrays import Array
from anyback.backends import Backend
from anyback.backends import backend as find_backend
from anyback.callbacks import Callback, in_order
from anyback.interrupt import Interrupt
from anyback.layers import Activation, Layer, Sequential
from anyback.lookup import lookup
from anyback.optimizers._base import Optimizer
from anyback.parameters import Layout
from anyback.random import Draw, Purpose, micro_batch_word, micro_batch_words
from anyback.training.divergence import first_fault
from anyback.training.fit_data import Intake, OnHost, Plan
from anyback.training.history import History
from anyback.training.inputs import Scaler, as_inputs, positive, truth
from anyback.training.metric_sums import Tallies
from anyback.training.objective import Objective, distinct
from anyback.training.progress import Progress
from anyback.training.step import Data, Program

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Trainer"]

# The most steps that are done without looking up, for a callback or for Ctrl-C.
AT_ONCE = 64
# The most work in them, as steps times parameters times samples: some hundredths of a second.
WORK = 1 << 29


class Trainer:
    """Train a model on arrays of any library.

    Parameters
    ----------
    model : Layer
        Such as `anyback.MLP`; the input width is inferred from the data.
    loss : str or Loss
        A name of `anyback.losses`, or a loss, with options by `functools.partial`.
    optimizer : str or Optimizer
        A name of `anyback.optimizers` (with its defaults), or an optimizer; its `lr` may be a schedule.
    backend : str, optional
        See `anyback.backend`.
    dtype : {"float32", "float64"}
        Of weights and training.
    seed : int
        Of initial weights, shuffles, splits and dropout: the same on every backend.
    metrics : sequence of str or Metric
        Names of `anyback.metrics`, or metrics.
    l1, l2 : float
        Factors of the penalties sum abs(w) and sum w^2 over weights (not biases, not norms). The history
        reports them as "penalty"; "loss" is the loss alone.
    clip_norm, clip_value : float, optional
        Largest norm of the whole gradient; largest size of each of its elements.
    standardize : bool
        Whether to subtract each column's mean and divide by its standard deviation, learned from the
        training part in float64, before the cast to `dtype`; saved with the model.

    Attributes
    ----------
    history : History
        The figures of all epochs.
    epoch, batch, updates : int
        Finished epochs, batches done of the current one, updates in all.
    stop : bool
        A callback sets it to end training: after the batch in `on_update`, else after the epoch.
    lr_factor : float
        What `ReduceOnPlateau` multiplies the learning rate by.

    Raises
    ------
    ValueError
        For unknown names (the message gives the nearest) and values out of range.
    BackendError
        If the backend cannot run; the message says why and what to install.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback import MLP
    >>> x = np.linspace(-1, 1, 64)[:, None]
    >>> trainer = Trainer(MLP([16], 1, activation="tanh"), "mean_squared_error", "Adam", backend="numpy")
    >>> history = trainer.fit(x, x[:, 0] ** 2, epochs=5, verbose=0)
    >>> trainer.predict(x).shape, len(history)
    ((64, 1), 5)
    """

    def __init__(
        self,
        model: Layer,
        loss: str | Callable[..., Any],
        optimizer: str | Optimizer = "Adam",
        *,
        backend: str | Backend | None = None,
        dtype: str = "float32",
        seed: int = 0,
        metrics: Sequence[str | Callable[..., Any]] = (),
        l1: float = 0.0,
        l2: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        standardize: bool = False,
    ) -> None:
        if not isinstance(model, Layer):
            raise TypeError(f"model must be a Layer such as anyback.MLP, got {model!r}")
        if str(dtype) not in ("float32", "float64"):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        if isinstance(metrics, str) or not isinstance(metrics, Iterable):
            raise TypeError(f"metrics must be a sequence such as ['accuracy'], got {metrics!r}")
        Draw(seed, Purpose.WEIGHTS)  # a bad seed is named now
        self.model, self.dtype, self.seed = model, str(dtype), int(seed)
        self.standardize = truth("standardize", standardize)
        self.loss, self.metrics = loss, tuple(metrics)
        self._loss = Objective.of("loss", loss, losses)
        self._metrics = [Objective.of("metric", metric, metric_room) for metric in metrics]
        distinct([metric.name for metric in self._metrics])
        self.optimizer = (
            lookup("optimizer", optimizer, optimizers)() if isinstance(optimizer, str) else optimizer
        )
        if not isinstance(self.optimizer, Optimizer):
            raise TypeError(
                f"optimizer must be a name or an Optimizer such as anyback.Adam(), got {optimizer!r}"
            )
        self.limits: dict[str, Any] = {
            "l1": _limit("l1", l1, 0.0),
            "l2": _limit("l2", l2, 0.0),
            "clip_norm": None if clip_norm is None else _limit("clip_norm", clip_norm),
            "clip_value": None if clip_value is None else _limit("clip_value", clip_value),
        }
        self.backend = find_backend(backend)
        self.backend.check(self.dtype)
        self.history = History()
        self.epoch = self.batch = self.updates = self.micro = 0
        self.lr_factor, self.stop = 1.0, False
        self._layout: Layout | None = None
        self.in_shape: tuple[int, ...] | None = None
        self.scaler = Scaler()
        self._best: tuple[Array, Array] | None = None
        self.showing_best = False
        self._plan: Plan | None = None
        self.identity: dict[str, Any] | None = None
        self.callback_states: list[tuple[str, dict[str, Any]]] = []

    def __repr__(self) -> str:
        size = "not built" if self._layout is None else f"{self.layout.size:,} parameters"
        parts = (self._loss.name, type(self.optimizer).__name__, self.backend.name, self.dtype)
        return f"<Trainer of {size}: {', '.join(parts)}, epoch {self.epoch}>"

    # --- the model's numbers -------------------------------------------------------------------

    def build(self, in_shape: int | Sequence[int]) -> Trainer:
        """Bind the model to samples of `in_shape` and draw its weights; `fit` does it by itself."""
        sizes = in_shape if isinstance(in_shape, Sequence) else (in_shape,)
        shape = tuple(positive("in_shape", size) for size in sizes)
        model, out_shape = self.model.bind(shape)
        if len(out_shape) != 1:
            raise ValueError(
                f"model must give one row of outputs a sample, got shape {out_shape}: add a Flatten"
            )
        if self._loss.targets == "labels" and out_shape[0] < 2:
            raise ValueError(
                f"model must have an output for each class, two at least, for loss {self._loss.name!r}, "
                f"got {out_shape[0]}"
            )
        layout = Layout(model.specs())
        if layout.size == 0:
            raise ValueError("model must have parameters to train, got none")
        last = model
        while isinstance(last, Sequential) and last.layers:
            last = last.layers[-1]
        if isinstance(last, Activation) and last.name == self._loss.link:
            warnings.warn(
                f"model ends in {last.name}, which loss {self._loss.name!r} applies by itself: leave it out",
                stacklevel=2,
            )
        tallies = Tallies(self._loss, self._metrics, out_shape[0], self.backend)
        w, stats = layout.initial(self.seed)
        # Nothing is assigned before all is known to fit.
        self.model, self._layout, self.in_shape, self._outputs = model, layout, shape, out_shape[0]
        self._w = self.backend.asarray(w, self.dtype)
        self._stats = self.backend.asarray(stats, self.dtype)
        self._slots = self.backend.call(self.optimizer.init, self._w)
        self._tallies, self._tally = tallies, tallies.zeros()
        self._total: tuple[Array, Array] | None = None
        self._set_up()
        return self

    @property
    def layout(self) -> Layout:
        """Names and places of the parameters; RuntimeError before the first fit or build."""
        if self._layout is None:
            raise RuntimeError("this trainer has no weights yet: call fit, or build(in_shape), first")
        return self._layout

    @property
    def weights(self) -> Array:
        """A copy of the flat vector (P,) of all trained parameters, on the backend."""
        w, _ = self._shown
        return self._copy(w)

    @property
    def _shown(self) -> tuple[Array, Array]:
        """Weights and running statistics: the best ones, if they are shown, else the newest."""
        _ = self.layout  # raises where there are none yet
        return self._best if self.showing_best and self._best else (self._w, self._stats)

    def parameters(self) -> dict[str, np.ndarray]:
        """Return copies of the parameters on the host, by PyTorch's names and in its shapes."""
        return self.layout.arrays(self.backend.to_numpy(self._shown[0]))

    def statistics(self) -> dict[str, np.ndarray]:
        """Return copies of the running statistics on the host, by PyTorch's names."""
        return self.layout.statistics_arrays(self.backend.to_numpy(self._shown[1]))

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return self._lr(self.updates)

    # --- training ------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        epochs: int = 1,
        batch_size: int | None = 32,
        validation_split: float = 0.0,
        validation_data: Sequence[Any] | None = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | Sequence[float] | None = None,
        shuffle: bool = True,
        accumulate: int = 1,
        callbacks: Iterable[Callback] = (),
        verbose: int = 1,
    ) -> History:
        """Train until `epochs` epochs are done in all; a second call continues.

        Parameters
        ----------
        x : array (n, ...)
            Inputs: of any library, a list or a data frame. On a CPU what has the dtype of training is read
            where it is, not copied: leave it as it is until fit returns.
        y : array
            Targets: labels (n,), or (n, k), or (n,) where the model has one output.
        epochs : int
            The total, not "more": after ``fit(epochs=5)``, ``fit(epochs=8)`` trains three.
        batch_size : int or None
            Samples a batch; None is all of them, 1 is one at a time. The last batch may be smaller.
        validation_split : float
            Share of the samples, drawn by the seed, that is held out for validation, in [0, 1).
        validation_data : (x, y) or (x, y, sample_weight), optional
            Validation data of its own instead.
        sample_weight : array (n,), optional
            Weights of the samples, those held out included; weighted losses and metrics divide by their sum.
        class_weight : mapping or sequence, optional
            Weight of each class, multiplied into the weights of samples trained on, not of those held out.
        shuffle : bool
            Whether each epoch goes through the samples in a new order, drawn by the seed.
        accumulate : int
            Batches whose gradients are gathered for one update, as if they were one batch.
        callbacks : iterable of Callback
            See `anyback.callbacks`.
        verbose : {0, 1, 2}
            Silent, a progress bar, a line an epoch.

        Returns
        -------
        History
            The figures of all epochs so far.

        Raises
        ------
        TypeError, ValueError
            For bad input, before training starts: the message names argument, place and value.
        Interrupted
            After Ctrl-C, when the batch is done; see `anyback.interrupt`.
        DivergenceError
            If at an epoch's end the loss or the state is not finite; see `anyback.callbacks.NaNGuard`.
        """
        if self._plan is not None:
            raise RuntimeError("fit is running already: a callback cannot call it on the same trainer")
        epochs, accumulate = positive("epochs", epochs), positive("accumulate", accumulate)
        if verbose not in (0, 1, 2):
            raise ValueError(f"verbose must be 0, 1 or 2, got {verbose!r}")
        if not (isinstance(validation_split, Real) and 0 <= validation_split < 1):
            raise ValueError(f"validation_split must lie in [0, 1), got {validation_split!r}")
        if validation_split and validation_data is not None:
            raise ValueError("validation_split and validation_data exclude each other, got both")
        if validation_data is not None and not (
            isinstance(validation_data, list | tuple) and len(validation_data) in (2, 3)
        ):
            raise ValueError(
                f"validation_data must be (x, y) or (x, y, sample_weight), got {_kind(validation_data)}"
            )
        chain = in_order(callbacks)
        unbound = self.model if self._layout is None else None
        plan = self._planned(
            (x, y, sample_weight),
            validation_data,
            class_weight=class_weight,
            batch_size=None if batch_size is None else positive("batch_size", batch_size),
            validation_split=float(validation_split),
            shuffle=truth("shuffle", shuffle),
            accumulate=accumulate,
        )
        if self.batch and plan.identity != self.identity:
            changed = [
                name for name, value in plan.identity.items() if value != (self.identity or {}).get(name)
            ]
            raise ValueError(
                f"to resume within an epoch, fit needs what it had before; other now: {', '.join(changed)} "
                "(restart_epoch() gives the rest of that epoch up)"
            )
        if self.epoch >= epochs and self.identity and plan.identity["data"] != self.identity["data"]:
            warnings.warn(
                f"epochs={epochs} is the total, and {self.epoch} are done, with other data: nothing is "
                "trained (a new Trainer begins anew)",
                stacklevel=2,
            )
        if self.epoch and self.identity and plan.identity["data"] == self.identity["data"]:
            old, new = (identity["validation_split"] for identity in (self.identity, plan.identity))
            if new and old != new:
                warnings.warn(
                    f"validation_split was {old} and is {new}: validation now has rows that were trained on",
                    stacklevel=2,
                )
        before, begun = (self.scaler, self.identity, self.callback_states), False
        if self.identity and plan.identity["data"] != self.identity["data"]:
            for callback in chain:
                callback.reset()
        else:
            self._restore_callbacks(chain)
        self.scaler, self.identity = plan.intake.scaler, plan.identity
        self._plan, self.stop = plan, False
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # DivergenceError says more
                for callback in chain:
                    callback.on_fit_start(self)
                begun = True
                if self.epoch < epochs:
                    self.showing_best = False
                    if not any(getattr(callback, "restore_best", False) for callback in chain):
                        self._best = None  # nobody keeps it up to date
                with Progress(self, plan.batches, epochs, verbose) as progress, Interrupt() as interrupt:
                    while self.epoch < epochs and not self.stop:
                        self._train_epoch(plan, chain, progress, interrupt)
        finally:
            self._plan = None
            self._release()
            with ExitStack() as ends:  # all of them run, whichever raise
                for callback in reversed(chain):
                    ends.callback(callback.on_fit_end, self)
            self.callback_states = [(type(callback).__name__, callback.state()) for callback in chain]
            if not begun:  # a callback refused: all is as it was
                self.scaler, self.identity, self.callback_states = before
                if unbound is not None:
                    self.model, self._layout, self.in_shape = unbound, None, None
        return self.history

    def remember_best(self) -> None:
        """Keep a copy of the weights as they are now, for `use_best`."""
        self._best = self._copy(self._w), self._copy(self._stats)

    def use_best(self) -> None:
        """Show the remembered weights to predict, evaluate and parameters, until training goes on."""
        self.showing_best = self._best is not None

    @property
    def validates(self) -> bool:
        """Whether the running fit has validation data."""
        return self._plan is not None and self._plan.validation is not None

    def mark(self) -> Callable[[], None]:
        """Return a function that brings the run back to where it stands now, as often as it is called.

        The best weights and the learning rate's factor stay as callbacks have made them.
        """
        kept = {name: self._copy(a) for name, a in self.state().items() if not name.startswith("best.")}
        place = self.epoch, self.batch, self.updates, self.micro
        rows = len(self.history)

        def back() -> None:
            best = self._best
            self.set_state(kept)
            self._best = best
            self.epoch, self.batch, self.updates, self.micro = place
            del self.history.rows[rows:]

        return back

    def first_fault(self) -> str:
        """Train on to the first batch after which a number is not finite, and say where it came from.

        During a fit, from a mark of before. Each batch is read back: this is for the moment after a failure.
        """
        plan = self._running("first_fault")
        order, words = self._order(plan), self._words(plan)
        for word in words:
            w, stats = self._copy(self._w), self._copy(self._stats)
            batch = self._batches(plan, order, [word])
            self._advance(plan, batch)
            if not self.finite:
                rows, _, _ = batch[0]
                data, rows = self._placed(plan, rows)
                found = self.backend.call(first_fault, self._program, w, stats, data, rows, word)
                return f"batch {self.batch} of {plan.batches}: {found or self._broken()}"
        held = plan.validation
        for start, part, rows in () if held is None else self._pieces(held, 1024):
            state = self._w, self._stats, part, rows, None
            if found := self.backend.call(first_fault, self._program, *state):
                return f"validation rows from {start} on: {found}"
        return "nothing that training on the same batches again shows"

    @property
    def finite(self) -> bool:
        """Whether all numbers of the state are finite; reading it costs a synchronisation."""
        gathered = self._total[:1] if self._total else ()
        tally = self._judge(self._tally, self._w, self._stats, (*self._slots, *gathered))
        return bool(np.isfinite(self.backend.to_numpy(tally["loss"])))

    def _broken(self) -> str:
        """Name the first part of the state that a step from finite gradients has made infinite."""
        arrays, host = self.layout.arrays, self.backend.to_numpy
        state = {"running statistics": self.layout.statistics_arrays(host(self._stats))}
        state |= {"update": arrays(host(self._w))}
        state |= {f"optimizer's slot {i}": arrays(host(slot)) for i, slot in enumerate(self._slots)}
        broken = (
            f"the {what} of {name}"
            for what, parts in state.items()
            for name, array in parts.items()
            if not np.isfinite(array).all()
        )
        return next(broken, "a sum of the epoch")

    def check(self, x: Any, y: Any, sample_weight: Any = None) -> None:
        """Raise what `evaluate` would raise of these data, and do nothing else.

        Parameters
        ----------
        x, y, sample_weight
            As for `fit`.

        Raises
        ------
        TypeError, ValueError
            The message names argument, place and value.
        """
        self._intake().check(x, y, sample_weight)

    def sample_gradient(self, rows: int) -> dict[str, np.ndarray]:
        """Return the gradient of the first `rows` training samples, by parameter; during a fit."""
        plan = self._running("sample_gradient")
        word = micro_batch_word(self.seed, self.micro)
        _, data, first = next(self._pieces(plan.data, min(rows, plan.samples)))
        _, g = self._objective(self._w, self._stats, data, first, self._mask, word)
        return self.layout.arrays(self.backend.to_numpy(g))

    def _running(self, asked: str) -> Plan:
        if self._plan is None:
            raise RuntimeError(f"{asked} is for callbacks: it needs the data of a running fit")
        return self._plan

    def restart_epoch(self) -> None:
        """Give up what was done of an interrupted epoch's order and sums; its updates stay."""
        self.batch, self._tally, self._total = 0, self._tallies.zeros(), None

    @contextmanager
    def hand_over(self, x: Any, y: Any, sample_weight: Any = None) -> Iterator[tuple[Any, np.ndarray, Any]]:
        """Let others move the weights: ``with trainer.hand_over(x, y) as (loss, w, accept)``.

        ``loss(w) -> (value, gradient)`` of a flat host vector (P,), in float64, is the loss of all samples
        with its penalties, as SciPy would have it; `w` is where training stands. ``accept(w)`` takes weights
        up, which counts as an epoch.
        """
        if self._plan is not None:
            raise RuntimeError("fit is running already: a callback cannot minimize the same trainer")
        if self.batch:
            raise RuntimeError("an epoch is half done: finish it by fit, or give it up by restart_epoch()")
        whole = {"batch_size": None, "validation_split": 0.0, "shuffle": False, "accumulate": 1}
        plan = self._planned((x, y, sample_weight), None, **whole)
        if isinstance(plan.data, OnHost):
            raise MemoryError(
                f"minimize needs all samples on {self.backend.name}, which has no room for them"
            )
        self.scaler, self.identity, self._plan = plan.intake.scaler, plan.identity, plan
        self.showing_best, self._best = False, None
        word = micro_batch_word(self.seed, self.micro)

        def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
            interrupt.check()
            at = self.backend.asarray(w, self.dtype)
            value, g = self._objective(at, self._stats, plan.data, None, self._mask, word)
            return float(value), self.backend.to_numpy(g).astype(np.float64)

        def accept(w: np.ndarray) -> None:
            at = self.backend.asarray(w, self.dtype)
            figures = self._measure_all(at, self._stats, plan.data) | self._penalties(at)
            self._w, self.epoch = at, self.epoch + 1
            self.history.rows.append({"epoch": self.epoch, **figures, "lr": self.lr})

        try:
            with Interrupt() as interrupt:
                yield loss, self.backend.to_numpy(self._w).astype(np.float64), accept
        finally:
            self._plan = None
            self._release()

    def _release(self) -> None:
        """Let the compiled programs go of the data."""
        compiled = self._steps, self._fed_steps, self._accumulate, self._measure, self._objective
        self.backend.release(*compiled)

    def _planned(self, data: tuple[Any, Any, Any], held: Sequence[Any] | None, **options: Any) -> Plan:
        """Check the data and plan how to go through it, building the model first where it is not."""
        x, y, sample_weight = data
        unbound = self.model if self._layout is None else None
        if unbound is not None:
            x = as_inputs(x)
            self.build(x.shape[1:])
        try:
            intake = self._intake()
            return Plan.of(
                intake,
                intake.check(x, y, sample_weight),
                None if held is None else intake.check(*held, name="validation "),
                seed=self.seed,
                standardize=self.standardize,
                **options,
            )
        except Exception:
            if unbound is not None:  # data that was refused settles nothing
                self.model, self._layout, self.in_shape = unbound, None, None
            raise

    def _penalties(self, w: Array) -> dict[str, float]:
        """Return the figure of the penalties, where there are any."""
        if not (self.limits["l1"] or self.limits["l2"]):
            return {}
        return {"penalty": float(self._penalty(w, self._mask))}

    def _train_epoch(
        self, plan: Plan, callbacks: Sequence[Callback], progress: Progress, interrupt: Interrupt
    ) -> None:
        order, words = self._order(plan), iter(self._words(plan))
        hooks = [callback.on_update for callback in callbacks if callback.watches_updates]
        alone = plan.accumulate > 1 or isinstance(plan.data, OnHost) or hooks
        at_once = 1 if alone else max(1, min(AT_ONCE, WORK // (plan.batch_size * self.layout.size)))
        while self.batch < plan.batches:
            # The last batch, which may be smaller, goes by itself.
            count = max(1, min(at_once, plan.samples // plan.batch_size - self.batch))
            if self._advance(plan, self._batches(plan, order, list(islice(words, count)))):
                for hook in hooks:
                    hook(self)
            progress.advance(count)
            if self.stop or interrupt.asked:
                for callback in callbacks:
                    callback.on_stop(self)
                interrupt.check()
                return
        self._end_epoch(plan, callbacks, progress)

    def _words(self, plan: Plan) -> Sequence[int]:
        """Return the word of each batch that is left of the epoch."""
        return micro_batch_words(self.seed, self.micro, self.micro + plan.batches - self.batch)

    def _advance(self, plan: Plan, batches: Sequence[tuple[Any, ...]]) -> bool:
        """Train on the next batches, and return whether the weights were updated."""
        if plan.accumulate > 1:
            updated = self._gather_batch(plan, *batches[0])
        else:
            updated = True
            state = self._w, self._slots, self._stats, self._tally
            if isinstance(plan.data, OnHost):
                state = self._fed_steps(state, (self._mask,), batches)
            else:
                state = self._steps(state, (plan.data, self._mask), batches)
            self._w, self._slots, self._stats, self._tally = state
        self.batch += len(batches)
        self.micro += len(batches)
        self.updates += len(batches) if updated else 0
        return updated

    def _batches(self, plan: Plan, order: Any, words: Sequence[int]) -> list[tuple[Any, ...]]:
        """Return rows, the optimizer's numbers and the word of each of the next batches.

        Of data that stay on the host it is not rows but what is in them, see `_order`.
        """
        size, batches = plan.batch_size, []
        for i, word in enumerate(words):
            start = (self.batch + i) * size
            if isinstance(plan.data, OnHost):
                rows = next(order)
            else:
                rows = None if order is None else order[start : min(start + size, plan.samples)]
            batches.append((rows, self._scalars(self.updates + i), word))
        return batches

    @staticmethod
    def _placed(plan: Plan, rows: Any) -> tuple[Data, Array | None]:
        """Return the data on the device, and which rows of them a batch is, None for all."""
        return (rows, None) if isinstance(plan.data, OnHost) else (plan.data, rows)

    def _gather_batch(self, plan: Plan, rows: Any, scalars: Sequence[float], word: int) -> bool:
        """Add a batch to the gathered gradient, and return whether the weights were updated with it."""
        if self._total is None:
            zeros = self.backend.call(self.backend.namespace.zeros_like, self._w)
            self._total = zeros, self._tallies.zeros()["weight"]
        self._total, self._stats, self._tally = self._accumulate(
            self._total, self._stats, self._tally, self._w, *self._placed(plan, rows), word
        )
        if (self.batch + 1) % plan.accumulate and self.batch + 1 < plan.batches:
            return False
        self._w, self._slots, self._total = self._finish(
            self._w, self._slots, self._total, self._mask, scalars
        )
        return True

    def _scalars(self, updates: int) -> tuple[float, ...]:
        """Return the numbers of the update after so many."""
        return self.optimizer.at(updates + 1, self._lr(updates))

    def _lr(self, updates: int) -> float:
        lr = self.optimizer.lr
        return float(self.lr_factor * (lr(updates) if callable(lr) else lr))

    def _end_epoch(self, plan: Plan, callbacks: Sequence[Callback], progress: Progress) -> None:
        tally = self._judge(self._tally, self._w, self._stats, self._slots)
        logs: dict[str, float] = {"epoch": self.epoch + 1, **self._tallies.read(tally)}
        logs |= self._penalties(self._w)
        if plan.validation is not None:
            measured = self._measure_all(self._w, self._stats, plan.validation)
            logs |= {f"val_{name}": value for name, value in measured.items()}
        logs["lr"] = self.lr
        self.epoch, self.batch, self._tally = self.epoch + 1, 0, self._tallies.zeros()
        self.history.rows.append(logs)
        progress.show(logs)
        for callback in callbacks:
            callback.on_epoch_end(self, logs)
            self.callback_states = [(type(c).__name__, c.state()) for c in callbacks]

    def _order(self, plan: Plan) -> Any:
        """Return this epoch's order of the samples, or None where one batch is all of them.

        Of data that stay on the host it is the batches that are left of the epoch, brought one by one.
        """
        order, size = np.arange(plan.samples), plan.batch_size
        if plan.shuffle and plan.batches > 1:
            order = Draw(self.seed, Purpose.SHUFFLE, self.epoch).permutation(plan.samples)
        if isinstance(plan.data, OnHost):
            starts = range(self.batch * size, plan.samples, size)
            return self.backend.feed(plan.data, (order[start : start + size] for start in starts))
        return self.backend.indices(order) if plan.batches > 1 else None

    def _pieces(self, data: Data | OnHost, size: int) -> Iterator[tuple[int, Data, Array | None]]:
        """Go through data by `size` rows: yield the first row, data on the device, and which rows of them."""
        samples = data[0].shape[0]
        rows, starts = np.arange(samples), range(0, samples, size)
        if isinstance(data, OnHost):
            parts = self.backend.feed(data, (rows[start : start + size] for start in starts))
            yield from ((start, part, None) for start, part in zip(starts, parts, strict=True))
        else:
            rows = self.backend.indices(rows)
            yield from ((start, data, rows[start : min(start + size, samples)]) for start in starts)

    # --- using ---------------------------------------------------------------------------------

    def predict(self, x: Any, batch_size: int = 1024) -> np.ndarray:
        """Return the model's outputs (n, k) for inputs (n, ...), on the host, `batch_size` rows at a time.

        Of a classifier they are what its loss takes, before softmax or sigmoid: see `predict_proba`.

        Raises
        ------
        ValueError
            If samples have another shape than those of training.
        """
        size = positive("batch_size", batch_size)
        if not isinstance(x, np.ndarray) or x.ndim < 2:
            x = as_inputs(x, sample_shape=self.in_shape)
        if len(x) <= size:
            return self._predicted(x)
        return np.concatenate([self._predicted(x[row : row + size], row) for row in range(0, len(x), size)])

    def _predicted(self, x: np.ndarray, first_row: int = 0) -> np.ndarray:
        """Return the outputs for some rows of the inputs."""
        w, stats = self._shown
        x = as_inputs(x, "x", self.in_shape, first_row=first_row)
        x = self.scaler(x, self.dtype, first_row=first_row)
        return self.backend.to_numpy(self._forward(w, stats, self.backend.share(x)))

    def predict_proba(self, x: Any, batch_size: int = 1024) -> np.ndarray:
        """Return probabilities (n, k): softmax or sigmoid of the outputs, as the loss says.

        A model of one output gives (n, 1), the probability of the second class.

        Raises
        ------
        ValueError
            If the loss has no probabilities, as one for regression.
        """
        if self._loss.link is None:
            raise ValueError(
                f"predict_proba needs a loss whose link is 'sigmoid' or 'softmax', got {self._loss.name!r}, "
                "which has none"
            )
        link: np.ndarray = getattr(activations, self._loss.link)(self.predict(x, batch_size))[0]
        return link

    def evaluate(
        self, x: Any, y: Any, *, sample_weight: Any = None, batch_size: int = 1024
    ) -> dict[str, float]:
        """Return loss and metrics on data, as they are without dropout.

        Parameters
        ----------
        x, y, sample_weight
            As for `fit`.
        batch_size : int
            Rows at a time.

        Returns
        -------
        dict of str to float
            "loss" and each metric.
        """
        positive("batch_size", batch_size)
        intake = self._intake()
        data = intake.put(*intake.check(x, y, sample_weight))
        try:
            return self._measure_all(*self._shown, data, batch_size)
        finally:
            if self._plan is None:
                self._release()

    # --- saving --------------------------------------------------------------------------------

    def save(self, path: str | Path, *, keep: int = 1) -> None:
        """Write everything that exact resuming needs into one safetensors file; see `anyback.checkpoint`.

        Parameters
        ----------
        path : str or Path
            The file.
        keep : int
            Files in all: the one of before becomes "name.1.safetensors", that "name.2.safetensors", and so
            on; above 1 files so numbered are its own, and those that are too many are removed.
            `anyback.checkpoint.newest` finds the newest that is intact.

        Raises
        ------
        RuntimeError
            Before the first fit or build.
        CheckpointError, OSError
            If it cannot be written; the file of before is then intact.
        """
        checkpoint.save(self, path, keep)

    def state(self, everything: bool = False) -> dict[str, Array]:
        """Return every array of the run, on the backend; with `everything`, those of no use now too."""
        _ = self.layout  # raises where there is nothing yet
        state = {"w": self._w, "stats": self._stats}
        state |= {f"slots.{i}": slot for i, slot in enumerate(self._slots)}
        state |= {f"tally.{name}": value for name, value in self._tally.items()}
        if self._best or everything:
            state |= dict(zip(("best.w", "best.stats"), self._best or (self._w, self._stats), strict=True))
        if self._total or everything:
            state |= dict(
                zip(("total.g", "total.weight"), self._total or (self._w, self._tally["weight"]), strict=True)
            )
        return state

    def set_state(self, state: Mapping[str, Array]) -> None:
        """Take up copies of what `state` gave."""
        state = {name: self._copy(array) for name, array in state.items()}
        self._w, self._stats = state["w"], state["stats"]
        self._slots = tuple(state[f"slots.{i}"] for i in range(len(self._slots)))
        self._tally = {name: state[f"tally.{name}"] for name in self._tally}
        self._best = (state["best.w"], state["best.stats"]) if "best.w" in state else None
        self._total = (state["total.g"], state["total.weight"]) if "total.g" in state else None

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        backend: str | Backend | None = None,
        model: Layer | None = None,
        loss: str | Callable[..., Any] | None = None,
        optimizer: str | Optimizer | None = None,
        metrics: Sequence[str | Callable[..., Any]] | None = None,
    ) -> Trainer:
        """Return the trainer that `save` wrote, on any backend.

        Parameters
        ----------
        path : str or Path
            The checkpoint.
        backend : str, optional
            Where to go on: what `anyback.backend` takes, and by default what it gives, wherever the trainer
            was saved.
        model, loss, optimizer, metrics : optional
            What was not of anyback itself and so could not be stored, given again.

        Raises
        ------
        CheckpointError
            If the file is missing, truncated, altered or no checkpoint.
        """
        given = {"model": model, "loss": loss, "optimizer": optimizer, "metrics": metrics}
        return checkpoint.load(cls, path, backend, given)

    # --- inside --------------------------------------------------------------------------------

    def _intake(self) -> Intake:
        _ = self.layout  # raises where there are none yet
        classes = any(metric.targets == "labels" for metric in self._metrics)
        shape = self.in_shape or ()
        return Intake(self._loss, shape, self._outputs, self.backend, self.dtype, self.scaler, classes)

    def _set_up(self) -> None:
        """Compile the programs of a bound model."""
        sums = {metric.name: metric.sums for metric in self._metrics}
        loss = self._loss.placed(lambda values: self.backend.asarray(np.asarray(values), self.dtype))
        rule = cache(self.optimizer.rule)
        program = self._program = Program(self.model, self.layout, loss.sums, sums, rule, **self.limits)
        compile, xp = self.backend.compile, self.backend.namespace
        self._copy = partial(self.backend.call, partial(xp.asarray, copy=True))
        self._steps = self.backend.repeat(program.step, donate=4)
        self._fed_steps = self.backend.repeat(program.fed, donate=4)
        self._accumulate = compile(program.accumulate, donate=3, fresh=2)
        self._finish = compile(program.finish, donate=3)
        self._measure = compile(program.measure, donate=1, fresh=1)
        self._forward = compile(program.forward, fresh=1)
        self._judge = compile(program.judge, fresh=4)
        self._objective = compile(program.objective)
        self._penalty = compile(program.penalty)
        decays = getattr(self.optimizer, "weight_decay", 0.0) or self.limits["l1"] or self.limits["l2"]
        self._mask = self.backend.asarray(self.layout.decays(), self.dtype) if decays else 1.0

    def _measure_all(self, w: Array, stats: Array, data: Data, batch_size: int = 1024) -> dict[str, float]:
        tally = self._tallies.zeros()
        for _, part, rows in self._pieces(data, batch_size):
            tally = self._measure(tally, w, stats, part, rows)
        return self._tallies.read(tally)

    def _restore_callbacks(self, callbacks: Sequence[Callback]) -> None:
        """Give each callback the state that one of its kind had in the last fit, in order."""
        states = list(self.callback_states)
        for callback in callbacks:
            for i, (name, state) in enumerate(states):
                same = state.get("monitor") == callback.state().get("monitor")
                if same and name == type(callback).__name__:
                    callback.restore(state)
                    del states[i]
                    break


def _limit(name: str, value: Any, least: float | None = None) -> float:
    """Return `value` as a Python float: finite, and at least `least`, or above 0 where there is none."""
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not (number < math.inf and (number > 0 if least is None else number >= least)):
        expected = "positive and finite" if least is None else f"finite and at least {least:g}"
        raise ValueError(f"{name} must be {expected}, got {value!r}")
    return number


def _kind(thing: Any) -> str:
    return f"{len(thing)} items" if isinstance(thing, list | tuple) else type(thing).__name__
