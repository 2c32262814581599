"""From LLVM's language to machine code, and to a function that Python can call."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from ctypes.util import find_library
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from chatsim.engine.compiled.elementwise import loops

LEVEL = 2
"""How hard the whole is optimised: the third level takes longer, and makes it no faster."""
TEXT_SHARE, OPTIMISED_SHARE = 0.1, 0.75
CALLED = """
declare ptr @PyMem_RawMalloc(i64)
declare void @PyMem_RawFree(ptr)
declare void @chatsim_no_memory(i64) cold noreturn
declare void @chatsim_no_row(i64, i64, i64) cold noreturn
declare double @log(double)
declare double @pow(double, double)
declare double @llvm.floor.f64(double)
declare double @llvm.ceil.f64(double)
declare double @llvm.fabs.f64(double)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
@chatsim_loop_exp = external global [2 x ptr]
@chatsim_loop_ndtri = external global [2 x ptr]

define internal double @chatsim_exp(double %value) nounwind {
  %made = call double @chatsim_one(ptr @chatsim_loop_exp, double %value)
  ret double %made
}

define internal double @chatsim_ndtri(double %value) nounwind {
  %made = call double @chatsim_one(ptr @chatsim_loop_ndtri, double %value)
  ret double %made
}

define internal double @chatsim_one(ptr %loop, double %value) noinline nounwind {
  %count = alloca i64
  %steps = alloca [2 x i64]
  %numbers = alloca [2 x double]
  %places = alloca [2 x ptr]
  store i64 1, ptr %count
  store [2 x i64] [i64 8, i64 8], ptr %steps
  store double %value, ptr %numbers
  %made = getelementptr double, ptr %numbers, i64 1
  store ptr %numbers, ptr %places
  %second = getelementptr ptr, ptr %places, i64 1
  store ptr %made, ptr %second
  %function = load ptr, ptr %loop
  %last = getelementptr ptr, ptr %loop, i64 1
  %data = load ptr, ptr %last
  call void %function(ptr %places, ptr %count, ptr %steps, ptr %data)
  %result = load double, ptr %made
  ret double %result
}

define internal ptr @chatsim_grown(ptr %before, i64 %bytes) noinline cold nounwind {
  %room = shl i64 %bytes, 1
  %larger = call ptr @PyMem_RawMalloc(i64 %room)
  %none = icmp eq ptr %larger, null
  br i1 %none, label %fails, label %copies
fails:
  call void @chatsim_no_memory(i64 %room)
  unreachable
copies:
  call void @llvm.memcpy.p0.p0.i64(ptr %larger, ptr %before, i64 %bytes, i1 false)
  ret ptr %larger
}

define internal void @chatsim_keep(ptr %cells, ptr %table, i64 %rows) noinline cold nounwind {
  %count = getelementptr i64, ptr %cells, i64 1
  %own = getelementptr i64, ptr %cells, i64 3
  %is_own = load i64, ptr %own
  %is_lent = icmp eq i64 %is_own, 0
  br i1 %is_lent, label %keeps, label %frees
frees:
  %before = load ptr, ptr %cells
  call void @PyMem_RawFree(ptr %before)
  br label %keeps
keeps:
  store ptr %table, ptr %cells
  store i64 %rows, ptr %count
  store i64 1, ptr %own
  ret void
}
"""
"""What handlers call that no handler is: with a loop of numpy's that is given one number, and how a table grows."""


@cache
def machine() -> Any:
    """The machine that this runs on, for all code that is made."""
    return machine_anew()


def machine_anew() -> Any:
    """The same, for what keeps it, and ends with it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = processor().split(" ", 1)
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=LEVEL, reloc="default", codemodel="jitdefault", jit=True
    )


def processor() -> str:
    """The processor, and what it can do."""
    return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


def machine_code(text: str, progress: Callable[[float], None] = lambda share: None) -> bytes:
    """What is said in LLVM's language, as machine code, and not for loops over arrays of numbers: there are none.

    Progress is told the share that is done, by how long that takes.
    """
    module = llvm.parse_assembly(CALLED + text)
    module.triple, module.data_layout = llvm.get_process_triple(), str(machine().target_data)
    options = llvm.create_pipeline_tuning_options(LEVEL)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine(), options)
    progress(TEXT_SHARE)
    builder.getModulePassManager().run(module, builder)
    progress(OPTIMISED_SHARE)
    return bytes(machine().emit_object(module))


def named(code: bytes, name: str, result: Any, *kinds: Any) -> Callable[..., Any]:
    """The function of a name in machine code."""
    _make_known()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine_anew())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    found = ctypes.CFUNCTYPE(result, *kinds)(engine.get_function_address(name))
    found.engine = engine  # type: ignore[attr-defined]  # the code is there as long as this is
    return found


@cache
def _make_known() -> list[Any]:
    """Says where is what handlers call."""
    mathematics = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else find_library("m"))
    there = {
        "PyMem_RawMalloc": ctypes.pythonapi.PyMem_RawMalloc,
        "PyMem_RawFree": ctypes.pythonapi.PyMem_RawFree,
        "log": mathematics.log,
        "pow": mathematics.pow,
        "fmod": mathematics.fmod,
        "chatsim_no_memory": ctypes.CFUNCTYPE(None, ctypes.c_int64)(_no_memory),
        "chatsim_no_row": ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(_no_row),
    }
    addresses = {name: ctypes.cast(found, ctypes.c_void_p).value for name, found in there.items()}
    known = loops()
    addresses |= {name: ctypes.addressof(loop) for name, loop in known.items()}
    for name, address in addresses.items():
        llvm.add_symbol(name, address)
    return [*there.values(), *known.values()]


def _no_memory(size_bytes: int) -> None:
    """Handlers cannot raise: nothing is left to do but to say why, and to end as other wrong input does."""
    _say(f"out of memory for a table of {size_bytes:,} bytes: fewer users or a shorter run is needed")
    os._exit(2)


def _no_row(row: int, rows: int, line: int) -> None:
    """A defect of a handler, which only a run that is checked comes upon."""
    _say(f"row {row} of a table of {rows}, in line {line}")
    os.abort()


def _say(reason: str) -> None:
    os.write(2, f"chatsim: {reason}\n".encode())
