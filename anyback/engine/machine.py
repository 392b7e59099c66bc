"""Machine code in some hundredths of a second: LLVM, by way of llvmlite, and a table of loops gone through.

A program is a table of calls of inner loops, NumPy's and ours, of the one signature that `loops` tells of.
"""

from __future__ import annotations

import ctypes
from functools import cache
from threading import Lock
from typing import Any

import llvmlite.binding as llvm

__all__ = ["ROW", "address", "execute"]

# Words of a row of the table: a loop, its data, how often it is called, where its dimensions and its steps
# are, the addresses of up to four operands, and how far each moves from one call to the next.
ROW = 13

_EXECUTE = f"""
define void @f(ptr %program) {{
start:
  %work = alloca <4 x i64>
  %rows = load ptr, ptr %program
  %count.at = getelementptr i64, ptr %program, i64 1
  %count = load i64, ptr %count.at
  %feeds.at = getelementptr i64, ptr %program, i64 2
  %feeds = load ptr, ptr %feeds.at
  %fed.at = getelementptr i64, ptr %program, i64 3
  %fed = load i64, ptr %fed.at
  %rounds.at = getelementptr i64, ptr %program, i64 4
  %rounds = load i64, ptr %rounds.at
  br label %round

round:  ; each begins with what is new: of every feed (destination, source, bytes) the next piece
  %t = phi i64 [0, %start], [%t1, %rounded]
  %none = icmp eq i64 %fed, 0
  br i1 %none, label %row, label %feed
feed:
  %j = phi i64 [0, %round], [%j1, %feed]
  %entry = getelementptr [3 x i64], ptr %feeds, i64 %j
  %to = load ptr, ptr %entry
  %from.at = getelementptr i64, ptr %entry, i64 1
  %from = load ptr, ptr %from.at
  %bytes.at = getelementptr i64, ptr %entry, i64 2
  %bytes = load i64, ptr %bytes.at
  %gone = mul i64 %t, %bytes
  %piece = getelementptr i8, ptr %from, i64 %gone
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %piece, i64 %bytes, i1 false)
  %j1 = add i64 %j, 1
  %more.feeds = icmp slt i64 %j1, %fed
  br i1 %more.feeds, label %feed, label %row

row:
  %k = phi i64 [0, %round], [0, %feed], [%k1, %done]
  %r = getelementptr [{ROW} x i64], ptr %rows, i64 %k
  %loop = load ptr, ptr %r
  %data.at = getelementptr i64, ptr %r, i64 1
  %data = load ptr, ptr %data.at
  %times.at = getelementptr i64, ptr %r, i64 2
  %times = load i64, ptr %times.at
  %dimensions.at = getelementptr i64, ptr %r, i64 3
  %dimensions = load ptr, ptr %dimensions.at
  %steps.at = getelementptr i64, ptr %r, i64 4
  %steps = load ptr, ptr %steps.at
  %args.at = getelementptr i64, ptr %r, i64 5
  %args = load <4 x i64>, ptr %args.at, align 8
  %moves.at = getelementptr i64, ptr %r, i64 9
  %moves = load <4 x i64>, ptr %moves.at, align 8
  br label %call
call:
  %i = phi i64 [0, %row], [%i1, %call]
  %now = phi <4 x i64> [%args, %row], [%next, %call]
  store <4 x i64> %now, ptr %work
  call void %loop(ptr %work, ptr %dimensions, ptr %steps, ptr %data)
  %next = add <4 x i64> %now, %moves
  %i1 = add i64 %i, 1
  %more.calls = icmp slt i64 %i1, %times
  br i1 %more.calls, label %call, label %done
done:
  %k1 = add i64 %k, 1
  %more.rows = icmp slt i64 %k1, %count
  br i1 %more.rows, label %row, label %rounded
rounded:
  %t1 = add i64 %t, 1
  %more.rounds = icmp slt i64 %t1, %rounds
  br i1 %more.rounds, label %round, label %end
end:
  ret void
}}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""


@cache
def execute() -> Any:
    """Return the function that goes through a table, given the address of five words.

    They are rows and their count; feeds and their count, each a destination, a source and a number of bytes;
    and how many rounds it goes: before each, every feed brings the next piece of its source.
    """
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address(_EXECUTE))


def address(source: str) -> int:
    """Return where a function is, called @f in its source in LLVM's language; it is compiled once.

    Examples
    --------
    >>> import ctypes
    >>> source = "define i32 @f(i32 %x) { %y = add i32 %x, 1  ret i32 %y }"
    >>> ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32)(address(source))(41)
    42
    """
    with _lock:
        where: int = _compiled(source).get_function_address("f")
    return where


# One function is compiled at a time, and once: else the second would take its place, and the first be gone.
_lock = Lock()


@cache
def _compiled(source: str) -> Any:
    """Return what holds a compiled function in memory."""
    target = _target()
    module = llvm.parse_assembly(source)
    module.verify()
    passes = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(module, passes)
    engine = llvm.create_mcjit_compiler(module, target)
    engine.finalize_object()
    return engine


@cache
def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    here = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    return here.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3)
