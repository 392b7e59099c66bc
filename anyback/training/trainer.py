"""The trainer: what users call to fit, evaluate, predict and save."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from anyback import activations, checkpoint, losses, optimizers
from anyback import metrics as metric_functions
from anyback.arrays import Array
from anyback.backends import Backend
from anyback.backends import backend as find_backend
from anyback.criterion import distinct, resolve
from anyback.layers import Layer
from anyback.lookup import lookup
from anyback.optimizers import Optimizer
from anyback.parameters import Layout
from anyback.random import Purpose, Stream
from anyback.training.bound_model import BoundModel
from anyback.training.data_checks import as_inputs, host_inputs
from anyback.training.fit_data import FitData
from anyback.training.history import History
from anyback.training.hooks import Callback, Hooks
from anyback.training.loop import Loop
from anyback.training.state import TrainState, check_resumable
from anyback.validation import boolean, integer, number

__all__ = ["Trainer"]


class Trainer:
    """Train a model on arrays of any library.

    Parameters
    ----------
    model : Layer
        Such as `anyback.MLP`; the input width is inferred from the data.
    loss : str or Loss
        A name of `anyback.losses`, or a loss, with options by its method `bind` or `functools.partial`.
    optimizer : str or Optimizer
        A name of `anyback.optimizers` (with its defaults), or an optimizer; its `lr` may be a schedule.
    backend : str, optional
        See `anyback.backend`.
    dtype : {"float32", "float64"}
        Of the weights and of training.
    seed : int
        Determines initial weights, shuffles, splits and dropout: the same on every backend.
    metrics : sequence of str or Metric
        Names of `anyback.metrics`, or metrics.
    l1, l2 : float
        Factors of the penalties sum abs(w) and sum w^2 over the weights (not biases, not the scales of
        normalization layers). The history reports them as "penalty"; "loss" is the loss alone.
    clip_norm, clip_value : float, optional
        Gradient clipping: the largest norm of the whole gradient; the largest magnitude of each element.
    standardize : bool
        Feature scaling: whether to subtract each column's mean and divide by its standard deviation, both
        learned from the training rows in float64, before the cast to `dtype`, and saved with the model.

    Attributes
    ----------
    history : History
        Loss and metrics of all epochs.
    epoch, batch, updates : int
        Finished epochs, finished batches of the current one, updates in all.
    stop : bool
        A callback sets it to stop training: after the batch in `on_update`, else after the epoch.
    lr_factor : float
        Factor of the learning rate, which `ReduceOnPlateau` lowers.

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
        Stream(seed, Purpose.WEIGHTS)  # raises for a bad seed
        self.dtype, self.seed = str(dtype), int(seed)
        self.standardize = boolean("standardize", standardize)
        self.loss, self.metrics = loss, tuple(metrics)
        self._loss = resolve(losses.Loss, loss, losses)
        self._metrics = [resolve(metric_functions.Metric, m, metric_functions) for m in self.metrics]
        distinct([metric.name for metric in self._metrics])
        self.optimizer = (
            lookup("optimizer", optimizer, optimizers)() if isinstance(optimizer, str) else optimizer
        )
        if not isinstance(self.optimizer, Optimizer):
            raise TypeError(
                f"optimizer must be a name or an Optimizer such as anyback.Adam(), got {optimizer!r}"
            )
        self.limits = _limits(l1, l2, clip_norm, clip_value)
        self.backend = find_backend(backend)
        self.backend.check(self.dtype)
        self.stop = False
        self.busy = False  # while fit or `full_batch` runs
        self.train_state = TrainState()
        self._given_model = model
        self._bound: BoundModel | None = None
        self._loop: Loop | None = None

    def __repr__(self) -> str:
        size = "not built" if self._bound is None else f"{self.layout.size:,} parameters"
        parts = (self._loss.name, type(self.optimizer).__name__, self.backend.name, self.dtype)
        return f"<Trainer of {size}: {', '.join(parts)}, epoch {self.epoch}>"

    # --- the model ------------------------------------------------------------------------------

    def build(self, in_shape: int | Sequence[int]) -> Trainer:
        """Bind the model to samples of `in_shape` and initialise its weights; `fit` does it by itself."""
        sizes = in_shape if isinstance(in_shape, Sequence) else (in_shape,)
        shape = tuple(integer("in_shape", size) for size in sizes)
        settings = self._loss, self._metrics, self.optimizer, self.limits, self.backend, self.dtype
        bound = BoundModel(self.model, shape, *settings)
        bound.start(self.train_state, self.seed)
        self._bound = bound
        return self

    @property
    def bound(self) -> BoundModel:
        """The bound model and its compiled functions; RuntimeError before the first fit or build."""
        if self._bound is None:
            raise RuntimeError("this trainer has no weights yet: call fit, or build(in_shape), first")
        return self._bound

    @property
    def model(self) -> Layer:
        """The model, bound to its input shape after the first fit or build."""
        return self._given_model if self._bound is None else self._bound.model

    @property
    def in_shape(self) -> tuple[int, ...] | None:
        """Shape of one sample; None before the first fit or build."""
        return None if self._bound is None else self._bound.in_shape

    @property
    def layout(self) -> Layout:
        """Names and places of the parameters; RuntimeError before the first fit or build."""
        return self.bound.layout

    @property
    def weights(self) -> Array:
        """A copy of the flat vector (P,) of all trained parameters, on the backend."""
        return self.bound.copy(self.train_state.shown[0])

    def parameters(self) -> dict[str, np.ndarray]:
        """Return copies of the parameters on the host, by PyTorch's names and in its shapes."""
        return self.layout.arrays(self.backend.to_numpy(self.train_state.shown[0]))

    def statistics(self) -> dict[str, np.ndarray]:
        """Return copies of the running statistics on the host, by PyTorch's names."""
        return self.layout.statistics_arrays(self.backend.to_numpy(self.train_state.shown[1]))

    # --- progress -------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        """The metrics of all epochs so far."""
        return self.train_state.history

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return self.train_state.epoch

    @property
    def batch(self) -> int:
        """Number of batches done of the current epoch."""
        return self.train_state.batch

    @property
    def updates(self) -> int:
        """Number of updates in all."""
        return self.train_state.updates

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return self.train_state.lr(self.optimizer.lr, self.updates)

    @property
    def lr_factor(self) -> float:
        """Factor of the learning rate, which `ReduceOnPlateau` lowers."""
        return self.train_state.lr_factor

    @lr_factor.setter
    def lr_factor(self, factor: float) -> None:
        self.train_state.lr_factor = factor

    @property
    def finite(self) -> bool:
        """Whether all numbers of the state are finite; reading it costs a synchronisation."""
        state = self.train_state
        gathered = state.accumulated[:1] if state.accumulated else ()
        sums = self.bound.mark_nonfinite(state.sums, state.w, state.stats, (*state.slots, *gathered))
        return bool(np.isfinite(self.backend.to_numpy(sums["loss"])))

    # --- training -------------------------------------------------------------------------------

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
            Inputs: of any library, a list or a data frame. On a CPU an array of the training dtype is not
            copied: leave it unchanged until fit returns.
        y : array
            Targets: labels (n,), or (n, k), or (n,) where the model has one output.
        epochs : int
            The total, not additional ones: after ``fit(epochs=5)``, ``fit(epochs=8)`` trains three.
        batch_size : int or None
            Samples per batch; None for all of them. The last batch may be smaller.
        validation_split : float
            Share of the samples, chosen at random by the seed, that is held out for validation, in [0, 1).
        validation_data : (x, y) or (x, y, sample_weight), optional
            Separate validation data instead.
        sample_weight : array (n,), optional
            Weights of the samples, those held out included; weighted losses and metrics divide by their sum.
        class_weight : mapping or sequence, optional
            Weight of each class, multiplied into the weights of the training samples, not the held-out ones.
        shuffle : bool
            Whether each epoch visits the samples in a new random order, determined by the seed.
        accumulate : int
            Gradient accumulation: batches per update, as if they were one batch.
        callbacks : iterable of Callback
            See `anyback.callbacks`.
        verbose : {0, 1, 2}
            Silent, a progress bar, or a line per epoch.

        Returns
        -------
        History
            Loss and metrics of all epochs so far.

        Raises
        ------
        TypeError, ValueError
            For bad input, before training starts: the message names argument, place and value.
        Interrupted
            After Ctrl-C, when the batch is finished; see `anyback.interrupt`.
        DivergenceError
            If the loss or the state is not finite at an epoch's end; see `anyback.callbacks.NaNGuard`.
        """
        if self.busy:
            raise RuntimeError("fit is running already: a callback cannot call it on the same trainer")
        epochs, accumulate = integer("epochs", epochs), integer("accumulate", accumulate)
        if verbose not in (0, 1, 2):
            raise ValueError(f"verbose must be 0, 1 or 2, got {verbose!r}")
        _check_validation(validation_split, validation_data)
        hooks, unbound = Hooks(callbacks), self._bound is None
        data = self.prepare(
            (x, y, sample_weight),
            validation_data,
            class_weight=class_weight,
            batch_size=None if batch_size is None else integer("batch_size", batch_size),
            validation_split=float(validation_split),
            shuffle=boolean("shuffle", shuffle),
            accumulate=accumulate,
        )
        state = self.train_state
        check_resumable(state, data.config, epochs)
        before, started = (state.scaler, state.fit_config, state.callback_states), False
        if state.fit_config and data.config["data"] != state.fit_config["data"]:
            hooks.reset()
        else:
            hooks.resume(state.callback_states)
        state.scaler, state.fit_config, self.stop = data.spec.scaler, data.config, False
        self.busy, self._loop = True, Loop(self, self.bound, state, data, self.optimizer, self.seed)
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # DivergenceError says more
                hooks.call("on_fit_start", self)
                started = True
                self._loop.run(epochs, hooks, verbose)
        finally:
            self.busy, self._loop = False, None
            self.bound.release()
            hooks.end(self)
            state.callback_states = hooks.states()
            if not started:  # a callback refused: everything stays as it was
                state.scaler, state.fit_config, state.callback_states = before
                self._bound = None if unbound else self._bound
        return self.history

    def prepare(self, data: tuple[Any, Any, Any], validation: Any, **options: Any) -> FitData:
        """Return the data of a fit, after building the model if it is not built; see `FitData.of`."""
        x, y, sample_weight = data
        unbound = self._bound is None
        if unbound:
            x = host_inputs(x)
            self.build(x.shape[1:])
        try:
            spec = self.bound.input_spec(self.train_state.scaler)
            return FitData.of(
                spec,
                spec.check(x, y, sample_weight),
                None if validation is None else spec.check(*validation, name="validation "),
                seed=self.seed,
                standardize=self.standardize,
                **options,
            )
        except Exception:
            self._bound = None if unbound else self._bound  # refused data settle no shapes
            raise

    def restart_epoch(self) -> None:
        """Give up the order and the sums of an interrupted epoch; its updates stay."""
        state = self.train_state
        state.batch, state.sums, state.accumulated = 0, self.bound.sums.zeros(), None

    # --- for callbacks --------------------------------------------------------------------------

    @property
    def loop(self) -> Loop:
        """The loop of the running fit; RuntimeError outside of one."""
        if self._loop is None:
            raise RuntimeError("loop is for callbacks: it needs a running fit")
        return self._loop

    @property
    def validates(self) -> bool:
        """Whether the running fit has validation data."""
        return self._loop is not None and self._loop.data.validation is not None

    def remember_best(self) -> None:
        """Keep a copy of the weights as they are now, for `use_best`."""
        copy, state = self.bound.copy, self.train_state
        state.best = copy(state.w), copy(state.stats)

    def use_best(self) -> None:
        """Let predict, evaluate and parameters use the remembered weights, until training resumes."""
        self.train_state.showing_best = self.train_state.best is not None

    def state(self) -> dict[str, Array]:
        """Return every array of the run, on the backend."""
        _ = self.bound  # raises before the first build
        return self.train_state.arrays()

    def set_state(self, state: Mapping[str, Array]) -> None:
        """Set the arrays to copies of what `state` returned."""
        self.train_state.set_arrays({name: self.bound.copy(array) for name, array in state.items()})

    # --- inference ------------------------------------------------------------------------------

    def predict(self, x: Any, batch_size: int = 1024) -> np.ndarray:
        """Return the model's outputs (n, k) for inputs (n, ...), on the host, `batch_size` rows at a time.

        For a classifier these are logits, before softmax or sigmoid: see `predict_proba`.

        Raises
        ------
        ValueError
            If the samples do not have the shape of the training samples.
        """
        size = integer("batch_size", batch_size)
        if not isinstance(x, np.ndarray) or x.ndim < 2:
            x = as_inputs(x, sample_shape=self.in_shape)
        if len(x) <= size:
            return self._outputs(x)
        return np.concatenate([self._outputs(x[row : row + size], row) for row in range(0, len(x), size)])

    def _outputs(self, x: np.ndarray, first_row: int = 0) -> np.ndarray:
        """Return the outputs for some rows of the inputs."""
        model, state = self.bound, self.train_state
        x = as_inputs(x, "x", model.in_shape, first_row=first_row)
        x = state.scaler(x, self.dtype, first_row=first_row)
        return self.backend.to_numpy(model.forward(*state.shown, self.backend.share(x)))

    def predict_proba(self, x: Any, batch_size: int = 1024) -> np.ndarray:
        """Return probabilities (n, k): softmax or sigmoid of the outputs, depending on the loss.

        A model of one output gives (n, 1), the probability of the second class.

        Raises
        ------
        ValueError
            If the loss has no probabilities, such as a loss for regression.
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
        """Return loss and metrics on data, in inference mode (without dropout).

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
        integer("batch_size", batch_size)
        spec = self.bound.input_spec(self.train_state.scaler)
        data = spec.put(*spec.check(x, y, sample_weight))
        try:
            return self.bound.evaluate(*self.train_state.shown, data, batch_size)
        finally:
            if not self.busy:
                self.bound.release()

    def check(self, x: Any, y: Any, sample_weight: Any = None) -> None:
        """Check data without training: raise the errors that `evaluate` would raise.

        Parameters
        ----------
        x, y, sample_weight
            As for `fit`.

        Raises
        ------
        TypeError, ValueError
            The message names argument, place and value.
        """
        self.bound.input_spec(self.train_state.scaler).check(x, y, sample_weight)

    # --- saving ---------------------------------------------------------------------------------

    def save(self, path: str | Path, *, keep: int = 1) -> None:
        """Write everything that exact resuming needs into one safetensors file; see `anyback.checkpoint`.

        Parameters
        ----------
        path : str or Path
            The file.
        keep : int
            Number of files to keep: the previous one becomes "name.1.safetensors", that one
            "name.2.safetensors", and so on; with `keep` above 1, surplus numbered files are removed.
            `anyback.checkpoint.newest` finds the newest that is intact.

        Raises
        ------
        RuntimeError
            Before the first fit or build.
        CheckpointError, OSError
            If it cannot be written; the previous file stays intact.
        """
        checkpoint.save(self, path, keep)

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
            Where to resume: a name that `anyback.backend` takes; by default the usual one, whatever the
            trainer was saved on.
        model, loss, optimizer, metrics : optional
            Objects that are not part of anyback, and so could not be stored, given again.

        Raises
        ------
        CheckpointError
            If the file is missing, truncated, altered or not a checkpoint.
        """
        given = {"model": model, "loss": loss, "optimizer": optimizer, "metrics": metrics}
        loaded: Trainer = checkpoint.load(cls, path, backend, given)
        return loaded


def _check_validation(split: Any, data: Any) -> None:
    if not (isinstance(split, Real) and 0 <= float(split) < 1):
        raise ValueError(f"validation_split must lie in [0, 1), got {split!r}")
    if split and data is not None:
        raise ValueError("validation_split and validation_data exclude each other, got both")
    if data is not None and not (isinstance(data, list | tuple) and len(data) in (2, 3)):
        got = f"{len(data)} items" if isinstance(data, list | tuple) else type(data).__name__
        raise ValueError(f"validation_data must be (x, y) or (x, y, sample_weight), got {got}")


def _limits(l1: Any, l2: Any, clip_norm: Any, clip_value: Any) -> dict[str, Any]:
    return {
        "l1": number("l1", l1, "finite and not negative", "be finite and at least 0"),
        "l2": number("l2", l2, "finite and not negative", "be finite and at least 0"),
        "clip_norm": None if clip_norm is None else number("clip_norm", clip_norm),
        "clip_value": None if clip_value is None else number("clip_value", clip_value),
    }
