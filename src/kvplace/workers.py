"""Work shared among processes of this machine, or tasks of a Ray cluster that runs already.

The outcome does not depend on who did what: results come in the order of the jobs, and what a job
gives depends on nothing but the job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from kvplace.errors import InputError
from kvplace.extras import missing_extra

Job = TypeVar("Job")
Found = TypeVar("Found")

_LOOK_SECONDS = 0.2
"""How often it is looked whether to stop."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Who does the work.

    Parameters
    ----------
    processes
        Processes of this machine; with 1 the work is done in this one.
    ray
        Address of a Ray cluster that does it instead, as ``ray.init`` takes it: ``auto``,
        ``HOST:6379`` or ``ray://HOST:10001``. Empty for none.
    """

    processes: int = 1
    ray: str = ""

    def map(self, work: Callable[[Job], Found], jobs: Iterable[Job]) -> list[Found]:
        """Return what a function gives for each job, in order.

        Parameters
        ----------
        work
            A function of a module; what it is given and gives can be pickled.
        jobs
            Its arguments.

        Raises
        ------
        InputError
            The cluster does not answer.
        MissingExtraError
            Ray is not installed.
        """
        return list(self.each(work, jobs))

    def each(
        self,
        work: Callable[[Job], Found],
        jobs: Iterable[Job],
        stopped: Callable[[], bool] = bool,
    ) -> Iterator[Found]:
        """Yield what a function gives for each job, in order, as it and those before are done.

        Parameters
        ----------
        work, jobs
            As in `map`.
        stopped
            Asked again and again; once it says so, nothing more is begun or yielded.

        Raises
        ------
        InputError
            The cluster does not answer.
        MissingExtraError
            Ray is not installed.
        """
        jobs = list(jobs)
        if self.ray:
            yield from self._on_ray(work, jobs, stopped)
        elif self.processes <= 1 or len(jobs) <= 1:
            for job in jobs:
                if stopped():
                    return
                yield work(job)
        else:
            yield from self._in_processes(work, jobs, stopped)

    def _in_processes(
        self, work: Callable[[Job], Found], jobs: list[Job], stopped: Callable[[], bool]
    ) -> Iterator[Found]:
        """Do the work in processes of this machine."""
        with ProcessPoolExecutor(min(self.processes, len(jobs))) as pool:
            begun = [pool.submit(work, job) for job in jobs]
            for one in begun:
                while not wait([one], timeout=_LOOK_SECONDS).done:
                    if stopped():
                        pool.shutdown(wait=False, cancel_futures=True)
                        return
                yield one.result()

    def _on_ray(
        self, work: Callable[[Job], Found], jobs: list[Job], stopped: Callable[[], bool]
    ) -> Iterator[Found]:
        """Do the work as tasks of a cluster."""
        ray = _cluster(self.ray)
        task = ray.remote(work)
        begun = [task.remote(job) for job in jobs]
        for at, one in enumerate(begun):
            while not ray.wait([one], timeout=_LOOK_SECONDS)[0]:
                if stopped():
                    for left in begun[at:]:
                        ray.cancel(left)
                    return
            yield ray.get(one)


@lru_cache(maxsize=1)
def _cluster(address: str) -> Any:
    """Return Ray, connected to a cluster that is given the code of this kvplace.

    The connection is kept, so that what its processes have compiled serves the next jobs too; Ray
    itself ends it with this process.
    """
    try:
        import ray  # noqa: PLC0415 - heavy, and wanted by few
    except ModuleNotFoundError:
        raise missing_extra("--ray", "ray") from None
    ray.shutdown()
    code = {"py_modules": [str(Path(__file__).parent)]}
    try:
        ray.init(address, runtime_env=code, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"the Ray cluster does not answer: {error}", address) from None
    return ray
