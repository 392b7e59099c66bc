"""How NumPy runs a pure function fast: written down once, laid out on buffers, replayed.

1. `recording`: the function is called on arrays that note every operation.
2. `layout`: each result gets its place: buffers that are used again, views made once, new weights over the
   old ones, long elementwise passages in chunks that stay in a core's cache.
3. `calls`: what is left is a list of NumPy calls with their results in place; or, with Numba,
4. `table` and `loops`: a table of the loops inside those calls, which one compiled function goes through.

The formulas know nothing of it, and the numbers do not change: it is the same arithmetic by the same code of
NumPy in the same order, bit for bit, so that a run may begin in one way and go on in another.
"""

from anyback.engine.replay import Replayed

__all__ = ["Replayed"]
