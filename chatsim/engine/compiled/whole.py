"""Handlers are compiled as one whole: each once, and not again within all that call it.

Left to itself numba optimises each function together with all that it calls, makes machine code of that, and does so
again for whoever calls it, up the whole tree. Here the code of a handler stays as it was written until a function that
Python calls takes all of it in; only that is optimised, and becomes machine code. And handlers are plain: what numba
does for closures, generators, lists, strings or exceptions is left out.
"""

from __future__ import annotations

from typing import Any

from numba.core import typed_passes, types, typing, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, CompilerBase, Flags
from numba.core.compiler_machinery import PassManager

PASSES = (
    untyped_passes.TranslateByteCode, untyped_passes.FixupArgs, untyped_passes.IRProcessing,
    untyped_passes.ReconstructSSA, typed_passes.NopythonTypeInference,
    typed_passes.PreLowerStripPhis, typed_passes.IRLegalization, typed_passes.NativeLowering,
    typed_passes.NoPythonBackend,
)  # fmt: skip
"""What of numba's passes handlers need."""
LEVEL = 2
"""How hard the whole is optimised: the third level takes longer, and makes it no faster."""


class NoMachineCode:
    """What numba finds in the place of a generator of machine code: there is none to make known to Python."""

    def set_env(self, name: str, environment: Any) -> None:
        """Handlers use nothing of Python."""


class HandlerCode(JITCodeLibrary):
    """The code of a handler, and what else it calls."""

    _shared_module: Any

    @property
    def codegen(self) -> NoMachineCode:
        """No machine code is made of this."""
        return NoMachineCode()

    def add_linking_library(self, library: Any) -> None:
        """Code that this calls."""
        library._ensure_finalized()
        if library is not self and library not in self._linking_libraries:
            self._linking_libraries.append(library)

    def add_llvm_module(self, ll_module: Any) -> None:
        """Code comes in as it is."""
        self._final_module.link_in(ll_module)

    def finalize(self) -> None:
        """It stays as it is."""
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """There is no machine code to point to."""
        return 0

    def _get_module_for_linking(self) -> Any:
        """This code with all that it needs, each once."""
        if self._shared_module is None:
            needed = dict[Any, None]()
            self._gather(needed)
            handlers = [library for library in needed if isinstance(library, HandlerCode)]
            whole = linked([each._final_module.clone() for each in (self, *handlers)])
            for library in needed:
                if not isinstance(library, HandlerCode):
                    whole.link_in(library._get_module_for_linking(), preserve=True)
            for function in whole.functions:
                if not function.is_declaration and function.linkage.name == "external":
                    function.linkage = "linkonce_odr"
            self._shared_module = whole
        return self._shared_module

    def _gather(self, needed: dict[Any, None]) -> None:
        for library in self._linking_libraries:
            if library not in needed and library is not self:
                needed[library] = None
                if isinstance(library, HandlerCode):
                    library._gather(needed)


def linked(modules: list[Any]) -> Any:
    """One module of many, which are used up: two by two, since all that one module has is looked through for each that
    it takes in."""
    while len(modules) > 1:
        for one, other in zip(modules[::2], modules[1::2], strict=False):
            one.link_in(other)
        modules = modules[::2]
    return modules[0]


class EntryCode(JITCodeLibrary):
    """The code of a function that Python calls, with all that it needs: optimised once, and not for loops over arrays
    of numbers, of which there are none."""

    _linking_libraries: list[Any]

    def finalize(self) -> None:
        """All handlers that it calls come in at once, each once."""
        handlers, others = HandlerCode(self._codegen, "handlers"), []
        for library in self._linking_libraries:
            if isinstance(library, HandlerCode):
                handlers.add_linking_library(library)
            else:
                others.append(library)
        self._linking_libraries = [handlers, *others]
        super().finalize()

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage.name == "linkonce_odr":
                function.linkage = "internal"  # nobody else calls it, so that it may change as its callers need it
        passes, builder = self._codegen._module_pass_manager(opt=LEVEL, loop_vectorize=False, slp_vectorize=False)
        with self._recorded_timings.record("all passes", builder):
            passes.run(self._final_module, builder)


class EntryCompiler(Compiler):
    """numba's own compiler, for a function that Python calls."""

    def __init__(self, typing_context: Any, target: Any, _: Any, *others: Any) -> None:
        code = EntryCode(target.codegen(), "entry")
        code.enable_object_caching()
        super().__init__(typing_context, target, code, *others)


class HandlerFlags(Flags):
    """The options of all handlers: one object, since numba compares them for each operator that it looks up."""

    __slots__ = ("_hash",)
    _hash: int

    def copy(self) -> HandlerFlags:
        """Itself: nobody changes it."""
        return self

    def __hash__(self) -> int:
        """Reckoned once."""
        if not hasattr(self, "_hash"):
            self._hash = super().__hash__()
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Equal where all options are."""
        return self is other or super().__eq__(other)


class HandlerTyping(typing.Context):
    """What numba knows of types, and what it has found out of calls, which it would look up again."""

    def __init__(self, context: typing.Context) -> None:
        self.__dict__ = context.__dict__
        self.found: dict[Any, Any] = self.__dict__.setdefault("chatsim_found", {})

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        """The types of a call."""
        if kws or not all(isinstance(kind, types.Type) for kind in args):
            return super().resolve_function_type(func, args, kws)
        key = func, tuple(args)
        if key not in self.found:
            self.found[key] = super().resolve_function_type(func, args, kws)
        return self.found[key]


class HandlerCompiler(CompilerBase):
    """numba's compiler for handlers."""

    flags: HandlerFlags | None = None

    def __init__(self, typing_context: Any, target: Any, _: Any, args: Any, kind: Any, flags: Any, local: Any) -> None:
        if HandlerCompiler.flags is None:
            HandlerCompiler.flags = HandlerFlags(flags)
        code = HandlerCode(target.codegen(), "handler")
        super().__init__(HandlerTyping(typing_context), target, code, args, kind, HandlerCompiler.flags, local)

    def define_pipelines(self) -> list[PassManager]:
        """The few passes that handlers need."""
        passes = PassManager("handler")
        for each in PASSES:
            passes.add_pass(each, each.__name__)
        passes.finalize()
        return [passes]
