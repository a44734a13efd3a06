"""How many cores this process may use."""

import math
import os
from contextlib import suppress
from pathlib import Path, PurePosixPath

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def usable_cores(groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """Return the cores that the process may run on, or as many as it is given time for.

    Parameters
    ----------
    groups
        Where Linux states what a group of processes may use, such as a container or a service.
    own
        Where it states the groups of this process. In most containers that is the root of `groups`.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    places = [groups, groups / "cpu"]
    with suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            inside = PurePosixPath(path.strip("/"))
            root = groups / "cpu" if "cpu" in kinds.split(",") else groups
            places += [root / of for of in (inside, *inside.parents)]
    return max(1, math.ceil(min(cores, *map(_share, places))))


def _share(group: Path) -> float:
    """Return the cores' worth of time that a group has; infinity where nothing limits it.

    Source: "CPU Interface Files" of the Linux kernel's documentation of control groups (cpu.max),
    and "CFS Bandwidth Control" for their first version.
    """
    for files in (group / "cpu.max",), (group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us"):
        with suppress(OSError, ValueError):
            quota, period = map(float, " ".join(path.read_text() for path in files).split())
            if quota > 0 and period > 0:
                return quota / period
    return math.inf
