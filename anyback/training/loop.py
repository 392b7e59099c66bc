"""The training loop: epochs, batches in the order of the seed, and what callbacks see of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from anyback.arrays import Array
from anyback.interrupt import Interrupt
from anyback.optimizers import Optimizer
from anyback.random import Purpose, Stream, step_seed, step_seeds
from anyback.training.bound_model import BoundModel
from anyback.training.fit_data import FitData, HostData, chunks
from anyback.training.hooks import Hooks
from anyback.training.probe import first_nonfinite
from anyback.training.progress import Progress
from anyback.training.state import Snapshot, TrainState
from anyback.training.step import Data, TrainStep

__all__ = ["Loop"]

# The most steps in one call, so that callbacks and Ctrl-C do not wait long.
STEPS_PER_CALL = 64
# The most work in one call, as steps times parameters times samples: some hundredths of a second.
WORK_PER_CALL = 1 << 29


class Loop:
    """The epochs of one fit.

    Parameters
    ----------
    trainer : Trainer
        Passed to callbacks, which may set its `stop`.
    model : BoundModel
        With the compiled steps.
    state : TrainState
        Updated in place.
    data : FitData
        To train on.
    optimizer : Optimizer
        For the learning rate and the scalars of each update.
    seed : int
        Of shuffles and dropout.
    """

    def __init__(
        self,
        trainer: Any,
        model: BoundModel,
        state: TrainState,
        data: FitData,
        optimizer: Optimizer,
        seed: int,
    ) -> None:
        self.trainer, self.model, self.state, self.data = trainer, model, state, data
        self.optimizer, self.seed, self.backend = optimizer, seed, model.backend

    def run(self, epochs: int, hooks: Hooks, verbose: int) -> None:
        """Train until `epochs` epochs are done in all, or a callback stops it."""
        state, trainer = self.state, self.trainer
        if state.epoch < epochs:
            state.showing_best = False
            if not hooks.restore_best:
                state.best = None  # no callback keeps it up to date
        with Progress(trainer, self.data.batches, epochs, verbose) as progress, Interrupt() as interrupt:
            while state.epoch < epochs and not trainer.stop:
                if self._train_epoch(hooks, progress, interrupt):
                    self._end_epoch(hooks, progress)
                else:
                    hooks.call("on_stop", trainer)
                    interrupt.check()

    def _train_epoch(self, hooks: Hooks, progress: Progress, interrupt: Interrupt) -> bool:
        """Train on the batches that are left of the epoch; return whether it was finished."""
        state, data = self.state, self.data
        order, seeds, on_update = self._order(), iter(self._step_seeds()), hooks.updates
        singly = data.accumulate > 1 or isinstance(data.data, HostData) or on_update
        work = data.batch_size * self.model.layout.size
        most = 1 if singly else max(1, min(STEPS_PER_CALL, WORK_PER_CALL // work))
        while state.batch < data.batches:
            # The last batch, which may be smaller, is a call of its own.
            count = max(1, min(most, data.samples // data.batch_size - state.batch))
            if self._advance(self._next_batches(order, list(islice(seeds, count)))):
                for hook in on_update:
                    hook(self.trainer)
            progress.advance(count)
            if self.trainer.stop or interrupt.asked:
                return False
        return True

    def _end_epoch(self, hooks: Hooks, progress: Progress) -> None:
        """Read the epoch's metrics, validate, add a row to the history and call the callbacks."""
        state, model = self.state, self.model
        sums = model.mark_nonfinite(state.sums, state.w, state.stats, state.slots)
        logs: dict[str, float] = {"epoch": state.epoch + 1, **model.sums.means(sums)}
        logs |= model.penalties(state.w)
        if self.data.validation is not None:
            values = model.evaluate(state.w, state.stats, self.data.validation)
            logs |= {f"val_{name}": value for name, value in values.items()}
        logs["lr"] = state.lr(self.optimizer.lr, state.updates)
        state.epoch, state.batch, state.sums = state.epoch + 1, 0, model.sums.zeros()
        state.history.rows.append(logs)
        progress.show(logs)
        for callback in hooks.callbacks:
            callback.on_epoch_end(self.trainer, logs)
            state.callback_states = hooks.states()

    # --- batches --------------------------------------------------------------------------------

    def _order(self) -> Any:
        """Return the order of the samples in this epoch; None if one batch is all of them.

        For data on the host: an iterator of the batches that are left of the epoch, copied to the device.
        """
        data, size = self.data, self.data.batch_size
        order = np.arange(data.samples)
        if data.shuffle and data.batches > 1:
            order = Stream(self.seed, Purpose.SHUFFLE, self.state.epoch).permutation(data.samples)
        if isinstance(data.data, HostData):
            starts = range(self.state.batch * size, data.samples, size)
            return self.backend.feed(data.data, (order[start : start + size] for start in starts))
        return self.backend.indices(order) if data.batches > 1 else None

    def _step_seeds(self) -> Sequence[int]:
        """Return the seed of each batch that is left of the epoch."""
        first = self.state.micro_batches
        return step_seeds(self.seed, first, first + self.data.batches - self.state.batch)

    def _next_batches(self, order: Any, seeds: Sequence[int]) -> list[tuple[Any, ...]]:
        """Return the arguments of the next steps: (rows, scalars, seed), or (data, None, scalars, seed).

        The second form is for data on the host, of which only the batch is on the device.
        """
        data, state = self.data, self.state
        batches: list[tuple[Any, ...]] = []
        for i, seed in enumerate(seeds):
            start = (state.batch + i) * data.batch_size
            scalars = self._scalars(state.updates + i)
            if isinstance(data.data, HostData):
                batches.append((next(order), None, scalars, seed))
            else:
                stop = min(start + data.batch_size, data.samples)
                batches.append((None if order is None else order[start:stop], scalars, seed))
        return batches

    def _scalars(self, updates: int) -> tuple[float, ...]:
        """Return the optimizer's scalars for the update after `updates` others."""
        return self.optimizer.scalars(updates + 1, self.state.lr(self.optimizer.lr, updates))

    def _with_data(self, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return (data, rows, scalars, seed) of a batch."""
        return batch if isinstance(self.data.data, HostData) else (self.data.data, *batch)

    # --- steps ----------------------------------------------------------------------------------

    def _advance(self, batches: Sequence[tuple[Any, ...]]) -> bool:
        """Train on the next batches; return whether the weights were updated."""
        state, model, data = self.state, self.model, self.data
        updated = True
        if data.accumulate > 1:
            updated = self._accumulate(batches[0], model.accumulate, model.finish)
        else:
            fixed = (model.mask,) if isinstance(data.data, HostData) else (model.mask, data.data)
            carried = state.w, state.slots, state.stats, state.sums
            state.w, state.slots, state.stats, state.sums = model.steps(carried, fixed, batches)
        state.batch += len(batches)
        state.micro_batches += len(batches)
        state.updates += len(batches) if updated else 0
        return updated

    def _accumulate(
        self, batch: tuple[Any, ...], accumulate: Callable[..., Any], finish: Callable[..., Any]
    ) -> bool:
        """Add a batch to the accumulated gradient; return whether the weights were updated with it."""
        state, data, rows, scalars, seed = self.state, *self._with_data(batch)
        if state.accumulated is None:
            zeros = self.backend.call(self.backend.namespace.zeros_like, state.w)
            state.accumulated = zeros, self.model.sums.zeros()["weight"]
        state.accumulated, state.stats, state.sums = accumulate(
            state.accumulated, state.stats, state.sums, state.w, data, rows, seed
        )
        if (state.batch + 1) % self.data.accumulate and state.batch + 1 < self.data.batches:
            return False
        state.w, state.slots, state.accumulated = finish(
            state.w, state.slots, state.accumulated, self.model.mask, scalars
        )
        return True

    # --- what callbacks ask for -----------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return a copy of the state, for `restore`."""
        return self.state.snapshot(self.model.copy)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot."""
        self.state.restore(snapshot, self.model.copy)

    def gradient(self, rows: int) -> dict[str, np.ndarray]:
        """Return the gradient of the first `rows` training samples, by parameter."""
        seed = step_seed(self.seed, self.state.micro_batches)
        size = min(rows, self.data.samples)
        _, data, first = next(chunks(self.data.data, size, self.backend))
        model, state = self.model, self.state
        _, g = model.objective(state.w, state.stats, data, first, model.mask, seed)
        return model.layout.arrays(self.backend.to_numpy(g))

    def first_nonfinite(self) -> str:
        """Train on to the first batch after which a number is not finite, and name the operation.

        Each batch is read back: this is for the moment after a failure, from a snapshot before it.
        """
        order = self._order()
        for seed in self._step_seeds():
            before = self.snapshot()
            batches = self._next_batches(order, [seed])
            self._advance(batches)
            if not self.trainer.finite:
                place = f"batch {self.state.batch} of {self.data.batches}"
                self.restore(before)
                found = self._probe(partial(self._plain_step, batches[0]))
                return f"{place}: {found or 'a sum of the epoch'}"
        validation = self.data.validation
        for start, part, rows in () if validation is None else chunks(validation, 1024, self.backend):
            if found := self._probe(partial(self._plain_measure, part, rows)):
                return f"validation rows from {start} on: {found}"
        return "nothing that training on the same batches again shows"

    def _probe(self, run: Callable[[TrainStep], Any]) -> str | None:
        model = self.model
        try:
            return first_nonfinite(model.step, self.backend, model.loss.name, self.optimizer, run)
        except Exception as error:  # a custom container may refuse probed layers; the divergence is the news
            return f"an operation that cannot be named ({type(error).__name__}: {error})"

    def _plain_step(self, batch: tuple[Any, ...], step: TrainStep) -> None:
        """Train on one batch by calls that are not compiled."""
        state = self.state
        if self.data.accumulate > 1:
            self._accumulate(batch, step.accumulate, step.finish)
        else:
            step.step(state.w, state.slots, state.stats, state.sums, self.model.mask, *self._with_data(batch))

    def _plain_measure(self, data: Data, rows: Array | None, step: TrainStep) -> None:
        """Measure some rows by calls that are not compiled."""
        step.measure(self.model.sums.zeros(), self.state.w, self.state.stats, data, rows)
