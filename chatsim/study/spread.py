"""Many independent tasks over processes, results in the order of the tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TypeVar

from chatsim.scenario import InputError

Task = TypeVar("Task")
Done = TypeVar("Done")
Progress = Callable[[float, int, str], None]  # tasks done (with a fraction of the present one), of how many, which


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
    the number of processes.
    """
    if processes == 1:
        yield from map(work, tasks)
        return
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=processes, return_as="generator", pre_dispatch=2 * processes, batch_size=1)
    with closing(parallel(delayed(work)(task) for task in tasks)) as results:
        yield from results
