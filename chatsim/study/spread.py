"""Many independent tasks over processes or a cluster: results in the order of the tasks, or as they come."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

from chatsim.scenario import InputError

Task = TypeVar("Task")
Done = TypeVar("Done")
Progress = Callable[[float, int, str], None]  # tasks done (with a fraction of the present one), of how many, which

CONNECT_S = 10
WORKER_S = 30  # a cluster may be starting up
LOOK_AGAIN_S = 5.0  # how often a cluster's size is asked for
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
CANCELLED = (concurrent.futures.CancelledError, asyncio.CancelledError)  # either, by the version of Dask
LOOK_UP_S = 0.5  # how often a process sees whether its parent is there
AHEAD = 8  # tasks per process beyond the first whose result is missing
IDLE_S = 60  # processes without work end


def workers(jobs: int, tasks: int) -> int:
    """How many processes to use: ``jobs``, or one per core where it is 0, but no more than there are tasks.

    >>> workers(8, 3)
    3
    """
    if jobs < 0:
        raise InputError(f"--jobs {jobs}: at least 1 is needed, or 0 for one per core")
    if jobs == 0:
        from joblib import cpu_count

        jobs = int(cpu_count())
    return max(1, min(jobs, tasks))


def in_order(work: Callable[[Task], Done], tasks: Iterable[Task], processes: int) -> Iterator[Done]:
    """``work(task)`` for each task, in the order of the tasks; tasks are taken as processes come free.

    With one process nothing leaves this one. Work is a function of its task alone, so the results do not depend on
    the number of processes. An error of ``work`` is raised here; InputError where a process died of a task.
    """
    if processes == 1:
        yield from map(work, tasks)
        return
    numbered = enumerate(tasks)
    early: dict[int, Done] = {}
    submitted = following = 0
    with pool(partial(_numbered, work), processes, processes) as local:
        while True:
            # far ahead of what is waited for, results would only fill the memory
            while local.room > 0 and submitted < following + AHEAD * processes:
                if (task := next(numbered, None)) is None:
                    break
                local.submit(task)
                submitted += 1
            if not local.busy:
                return
            for came in local.wait():
                early[came.task[0]] = _done(came)
            while following in early:
                yield early.pop(following)
                following += 1


def _numbered(work: Callable[[Task], Done], task: tuple[int, Task]) -> Done:
    return work(task[1])


def _done(came: Came[Any, Done]) -> Done:
    if came.failure:
        raise came.error or InputError(f"{came.failure}: fewer users, or --jobs 1 for one at a time")
    return cast("Done", came.done)


# --------------------------------------------------------------------------- as they come


class Came(NamedTuple, Generic[Task, Done]):
    """A task that is over: what came of it, or in words why nothing did, with the error that ``work`` raised."""

    task: Task
    done: Done | None
    failure: str = ""
    error: BaseException | None = None


class Pool(Protocol[Task, Done]):
    """Where tasks are done. Which result comes first is up to chance."""

    @property
    def room(self) -> int:
        """How many more tasks it is worth to hand over now."""

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""

    def submit(self, task: Task) -> None:
        """Hands over a task."""

    def wait(self) -> list[Came[Task, Done]]:
        """What is over by now; at least one."""


@contextmanager
def pool(work: Callable[[Task], Done], jobs: int, tasks: int, cluster: str | None = None) -> Iterator[Pool[Task, Done]]:
    """This process (``jobs`` = 1), processes of this machine, or the Dask cluster at an address.

    Raises InputError where the cluster is not there or not fit. When the block ends with an error nothing goes on.
    """
    if cluster is not None:
        with _cluster(work, cluster) as found:
            yield found
        return
    processes = workers(jobs, tasks)
    if processes == 1:
        yield Here(work)
        return
    local = Processes(work, processes)
    try:
        yield local
    except BaseException:
        local.stop()
        raise


class Here(Generic[Task, Done]):
    """One task after the other, in this process."""

    def __init__(self, work: Callable[[Task], Done]) -> None:
        self.work = work
        self.waiting: deque[Task] = deque()

    @property
    def room(self) -> int:
        """One, as nothing can be done meanwhile."""
        return 1 - len(self.waiting)

    @property
    def busy(self) -> bool:
        """Whether a task waits."""
        return bool(self.waiting)

    def submit(self, task: Task) -> None:
        """Keeps a task for :meth:`wait`."""
        self.waiting.append(task)

    def wait(self) -> list[Came[Task, Done]]:
        """Does a task."""
        task = self.waiting.popleft()
        return [Came(task, self.work(task))]


class Processes(Generic[Task, Done]):
    """Processes of this machine, by loky. One that dies takes the others with it: what was under way is done again, one
    task alone at a time, so that the one that kills is found and the others are not lost for it."""

    def __init__(self, work: Callable[[Task], Done], processes: int) -> None:
        self.work = work
        self.processes = processes
        self.pending: dict[Any, Task] = {}
        self.suspects: deque[Task] = deque()
        self.executor: Any = None

    @property
    def room(self) -> int:
        """A second task for each process, so that none waits for this one; none while suspects are tried."""
        return 0 if self.suspects else 2 * self.processes - len(self.pending)

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self.pending or self.suspects)

    def submit(self, task: Task) -> None:
        """Hands over a task."""
        from concurrent.futures.process import BrokenProcessPool

        try:
            future = self._handed(task)
        except BrokenProcessPool:
            self.executor = None
            future = self._handed(task)
        self.pending[future] = task

    def _handed(self, task: Task) -> Any:
        executor = self._executor()
        with _ctrl_c_put_off():
            return executor.submit(self.work, task)

    def wait(self) -> list[Came[Task, Done]]:
        """What is over by now."""
        from concurrent.futures import FIRST_COMPLETED, wait
        from concurrent.futures.process import BrokenProcessPool

        while True:
            alone = False
            if self.suspects and not self.pending:
                self.submit(self.suspects.popleft())
                alone = True
            over = wait(self.pending, return_when=FIRST_COMPLETED).done
            came: list[Came[Task, Done]] = []
            for future in over:
                task = self.pending.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    self.executor = None
                if error is None:
                    came.append(Came(task, future.result()))
                elif not isinstance(error, BrokenProcessPool):
                    came.append(Came(task, None, _name(error), error))
                elif alone:
                    came.append(Came(task, None, "its process died (out of memory?)"))
                else:
                    self.suspects.append(task)
            if came:
                return came

    def stop(self) -> None:
        """Ends all processes at once."""
        if self.executor is not None:
            self.executor.shutdown(wait=True, kill_workers=True)
            self.executor = None

    def _executor(self) -> Any:
        """Processes of our own: loky's common ones are joblib's, which finds them as it made them."""
        from joblib.externals.loky import ProcessPoolExecutor

        if self.executor is None:
            self.executor = ProcessPoolExecutor(
                self.processes, timeout=IDLE_S, initializer=_serve, initargs=(os.getpid(),), env=ONE_THREAD
            )
        return self.executor


@contextmanager
def _ctrl_c_put_off() -> Iterator[None]:
    """Processes that are started here do not hear ctrl-C, not even before they come to :func:`_serve`."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing.resource_tracker import ensure_running

    ensure_running()  # begun later, it would end the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _name(error: BaseException) -> str:
    """An error in a line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _serve(parent: int) -> None:
    """Makes a process one that lives and ends with its parent.

    Ctrl-C reaches all processes of a terminal, and the parent ends the others. A parent that is killed cannot, and
    loky's processes would wait for it for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_UP_S)
    os._exit(1)


# --------------------------------------------------------------------------- a cluster


class Cluster(Generic[Task, Done]):
    """Workers of a Dask cluster. The scheduler gives what a dead worker had to another."""

    def __init__(self, work: Callable[[Task], Done], client: Any, address: str) -> None:
        self.work = work
        self.client = client
        self.address = address
        self.pending: dict[Any, Task] = {}
        self.over: Any = _distributed(address).as_completed(loop=client.loop)
        self.submitted = 0
        self.threads = 0
        self.asked_s = -LOOK_AGAIN_S

    @property
    def room(self) -> int:
        """A second task for each thread of the cluster, however large it is by now."""
        if time.monotonic() - self.asked_s >= LOOK_AGAIN_S:
            with suppress(OSError):
                self.threads = sum(self.client.nthreads().values())
            self.asked_s = time.monotonic()
        return max(2 * self.threads, 2) - len(self.pending)

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self.pending)

    def submit(self, task: Task) -> None:
        """Hands over a task; those handed over first are done first."""
        self.submitted += 1
        future = self.client.submit(self.work, task, pure=False, priority=-self.submitted)
        self.pending[future] = task
        self.over.add(future)

    def wait(self) -> list[Came[Task, Done]]:
        """What is over by now. InputError where the scheduler is gone."""
        came = []
        for future in self.over.next_batch():
            task = self.pending.pop(future)
            try:
                error = future.exception()
                if isinstance(error, CANCELLED):
                    raise error
                # where the worker died that had the result, this waits until another has done it again
                came.append(Came(task, future.result()) if error is None else Came(task, None, _name(error), error))
            except (OSError, *CANCELLED) as gone:
                raise InputError(
                    f"--cluster {self.address}: the scheduler is gone: what is done is kept, the same command goes on"
                ) from gone
        return came


@contextmanager
def _cluster(work: Callable[[Task], Done], address: str) -> Iterator[Cluster[Task, Done]]:
    if not address.startswith(("tcp://", "tls://", "ucx://", "ws://", "wss://")):
        raise InputError(f"--cluster {address}: the address of a scheduler is needed, such as tcp://10.0.0.1:8786")
    distributed = _distributed(address)
    with _quiet("distributed"):
        try:
            client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"--cluster {address}: no scheduler answers ('dask scheduler' starts one)") from error
        try:
            _refuse_without_workers(client, address)
            yield Cluster(work, client, address)
        finally:
            with suppress(Exception):  # whatever happens at the end has no part in the results
                client.close(timeout=CONNECT_S)


def _distributed(address: str) -> Any:
    """The module: untyped, and not everywhere."""
    try:
        return import_module("distributed")
    except ImportError as error:
        raise InputError(f"--cluster {address}: Dask is not installed: pip install 'chatsim[cluster]'") from error


def _refuse_without_workers(client: Any, address: str) -> None:
    """At least one worker, and all with the model of this process."""
    from chatsim.study.identity import model_version

    try:
        client.wait_for_workers(1, timeout=WORKER_S)
    except TimeoutError as error:
        raise InputError(f"--cluster {address}: has no workers ('dask worker {address}' starts one)") from error
    try:
        found = client.run(model_version, on_error="return")
    except Exception as error:
        raise InputError(f"--cluster {address}: its workers do not answer: {error}") from error
    for worker, said in sorted(found.items()):
        if isinstance(said, ModuleNotFoundError):
            raise InputError(f"--cluster {address}: worker {worker} has no module '{said.name}': it needs chatsim")
        if said != model_version():
            raise InputError(
                f"--cluster {address}: worker {worker} has chatsim of model {said}, this is {model_version()}: "
                "the same version is needed"
            )


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Without what a library says on standard error of connections that come and go."""
    # its loggers have levels of their own, each
    loggers = [logging.getLogger(each) for each in list(logging.root.manager.loggerDict) if each.startswith(name)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
