"""How many cores this process may use."""

import math
import os
from contextlib import suppress
from pathlib import Path

__all__ = ["usable_cores"]

_GROUPS = Path("/sys/fs/cgroup")


def usable_cores(groups: Path = _GROUPS) -> int:
    """Return the cores that the process may run on, or as many as its container has time for.

    Parameters
    ----------
    groups
        Where Linux states what a container may use.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _share(groups))))


def _share(groups: Path) -> float:
    """Return the cores' worth of time that a container has; infinity where nothing limits it.

    Source: "CPU Interface Files" of the Linux kernel's documentation of control groups (cpu.max),
    and "CFS Bandwidth Control" for their first version.
    """
    first = groups / "cpu"
    for files in (groups / "cpu.max",), (first / "cpu.cfs_quota_us", first / "cpu.cfs_period_us"):
        with suppress(OSError, ValueError):
            quota, period = map(float, " ".join(path.read_text() for path in files).split())
            if quota > 0 and period > 0:
                return quota / period
    return math.inf
