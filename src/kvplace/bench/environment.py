"""Where and with what a measurement was made."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kvplace._version import __version__

PACKAGES = ("numpy", "highspy", "ortools", "rebalancer")


def environment() -> dict[str, object]:
    """Return commit, versions and machine.

    ``commit`` is None where the package is not in a git checkout, and ``commit_modified`` says
    whether its files differ from that commit. ``load_average`` is over the last 1, 5 and 15
    minutes: well above the number of cores, times and what is reached by a time limit suffer.
    """
    versions = {"python": platform.python_version(), "kvplace": __version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    home = Path(__file__).resolve().parents[1]
    tracked = _git(home, "ls-files", "--error-unmatch", "__init__.py") is not None
    return {
        "recorded": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "commit": _git(home, "rev-parse", "HEAD") if tracked else None,
        "commit_modified": bool(_git(home, "status", "--porcelain", "--", "."))
        if tracked
        else None,
        "versions": versions,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "processor": _processor(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def _git(directory: Path, *arguments: str) -> str | None:
    """Return what git prints; None where it fails or is not there."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(directory), *arguments],  # noqa: S607 - git as the user has it
            capture_output=True, text=True, check=False, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str:
    """Return the name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
