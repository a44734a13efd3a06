"""Kills processes while they write: an earlier good file is never lost, and never half a new one.

    python benchmarks/kills.py --kills 1000 --commands 20

Every kill hits, at a random moment, a process that writes one file again and again; some hit the
command itself, from its start to its last byte. Signals are KILL, TERM, INT, ABRT and HUP. After
each the file must be one of those that were written, whole. Exits with 1 where one was not.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from kvplace.files import write_atomic
from kvplace.formats.plan.io import read_plan

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGABRT,
           signal.SIGHUP)  # fmt: skip
SIZES = (10, 100_000, 1_000_000)
MODELS = "name,weights_gib,requests_per_second,slo_seconds\n" + "".join(
    f"m{j},{1 + j % 9},{1 + j % 7},{2 + j % 5}\n" for j in range(300)
)


def content(version: int, size: int) -> bytes:
    """Return a content that shows whether it is whole."""
    line = f"{version}/{size}\n".encode()
    return line * (size // len(line) + 1) + b"end\n"


def is_whole(data: bytes) -> bool:
    """Whether some content is all there."""
    first = data.partition(b"\n")[0]
    version, _, size = first.partition(b"/")
    return version.isdigit() and size.isdigit() and data == content(int(version), int(size))


def kill_a_writer(path: Path, rng: random.Random) -> str:
    """Kill a process in the middle of its writing; return the signal's name."""
    size, number = rng.choice(SIZES), rng.choice(SIGNALS)
    child = os.fork()
    if not child:
        version = 0
        while True:
            version += 1
            write_atomic(path, content(version, size))
    time.sleep(rng.uniform(0, 0.02))
    os.kill(child, number)
    os.waitpid(child, 0)
    return number.name


def kill_a_command(folder: Path, rng: random.Random) -> str:
    """Kill ``kvplace plan`` at any moment; return the signal's name."""
    models, plan = folder / "models.csv", folder / "plan.json"
    models.write_text(MODELS)
    command = [sys.executable, "-m", "kvplace", "plan", str(models), "--gpus", "60x80GiB",
               "--time-limit", "1", "-o", str(plan)]  # fmt: skip
    number = rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        time.sleep(rng.uniform(0, 2))
        child.send_signal(number)
    return f"{number.name} of a command"


def main(arguments: list[str] | None = None) -> int:
    """Kill as often as is asked; return 1 where a good file was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--commands", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for number in set(SIGNALS) - {signal.SIGKILL}:
        signal.signal(number, signal.SIG_DFL)  # writers inherit it, and die of any of them at once
    rng, counts, lost = random.Random(options.seed), Counter(), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "file"
        write_atomic(path, content(0, 10))
        for _ in range(options.kills):
            counts[kill_a_writer(path, rng)] += 1
            lost += not is_whole(path.read_bytes())
        for _ in range(options.commands):
            before = folder / "plan.json"
            existed = before.exists()
            counts[kill_a_command(folder, rng)] += 1
            if existed or before.exists():
                read_plan(before)  # refuses what is not whole
        left = sum(entry.name.startswith(".") for entry in folder.iterdir())
    for what, count in sorted(counts.items()):
        sys.stdout.write(f"{count:>7,}  {what}\n")
    total = sum(counts.values())
    sys.stdout.write(f"{total:>7,}  kills, {lost} good files lost, {left} unfinished files left\n")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
