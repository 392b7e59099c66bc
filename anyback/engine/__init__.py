"""How a pure function runs fast: written down once, laid out on buffers, replayed.

1. `recording`: the function is called on stand-ins for its arguments, which note every operation.
2. `layout`: each result gets its place: buffers that are used again, views made once, new weights over the
   old ones, long elementwise passages in chunks that stay in a core's cache.
3. `calls`: what is left is a list of NumPy calls with their results in place; or, with llvmlite,
4. `table`: rows of inner loops (`loops`: NumPy's own, by their addresses, and a few it lacks; `kernels`: a
   whole elementwise passage as one loop), compiled where need be (`machine`), which one function goes
   through, many steps in one call.

The formulas know nothing of it, and the numbers do not change: it is the same arithmetic in the same order,
bit for bit, so that a run may begin in one way and go on in another. `replay` decides which way it is.

For a GPU the same recording goes another way: `fusion` gathers its operations into kernels, `cuda` writes
their source (`spelling`: one operation in C), `placing` finds everything a place in the GPU's memory, a
`program` runs it, and `device` decides when. What compiles and multiplies there is the backend's
(`anyback.backends.cuda`).
"""

from anyback.engine.replay import Repeated, Replayed

__all__ = ["Repeated", "Replayed"]
