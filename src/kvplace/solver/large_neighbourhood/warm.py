"""Compiles the kernels of searches before they are needed, in a process of its own.

::

    python -m kvplace.solver.large_neighbourhood.warm [exchange|cover|fill|pairs|even|share|price]

They take most of a minute to compile once after an installation, those named first. A search with
a time limit must not wait for that: it starts this process, goes on, and uses the kernels once they
are on disk. The process ends by itself, so that the next command finds them even where this one
ends sooner. Large fleets of undivided models compile what they need themselves, and start the
process where their time limit was over sooner.
"""

import contextlib
import os
import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.problem import Problem
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation import knapsack_kernel
from kvplace.solver.column_generation.compiled_knapsack import CompiledKnapsack
from kvplace.solver.construct import share_out
from kvplace.solver.construct.compiled_starts import bisect_first_fit, most_room_first
from kvplace.solver.construct.fill_by_pairs import fill_by_pairs
from kvplace.solver.construct.target_search import construct
from kvplace.solver.exact import set_cover_kernel
from kvplace.solver.improve import iterated_pairs, parallel_pairs
from kvplace.solver.improve.movable_shards import iterate_mobile
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.instance import Instance
from kvplace.solver.instance.options import Chooser
from kvplace.solver.kernels import Crew, is_compiled
from kvplace.solver.large_neighbourhood.annealed_fillings import fill_until
from kvplace.solver.large_neighbourhood.dear_fillings import dear_fillings, that_fit
from kvplace.solver.large_neighbourhood.domain_program import DomainProgram
from kvplace.solver.large_neighbourhood.refill import Refiller
from kvplace.units import GIB

_NICE = 10
_started: list[int] = []
TIGHT = set_cover_kernel.COMPILED
FILLING: tuple[Callable[..., Any], ...] = (fill_until, dear_fillings, that_fit)
EXCHANGING = iterated_pairs.COMPILED
PAIRS = parallel_pairs.COMPILED
EVENING = parallel_pairs.COMPILED_SEVERAL
SHARING = share_out.COMPILED
PRICING = knapsack_kernel.COMPILED


def kernels_ready(needed: Sequence[Callable[..., Any]]) -> bool:
    """Return whether kernels are on disk or loaded.

    Where they are not, all kernels of searches start to be compiled, these first.
    """
    if all(map(is_compiled, needed)):
        return True
    if not _started and sys.executable and hasattr(os, "posix_spawn"):
        null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0o600) for number in (0, 1, 2)]
        names = {
            FILLING: "fill", TIGHT: "cover", PAIRS: "pairs", EVENING: "even", SHARING: "share",
            PRICING: "price",
        }  # fmt: skip
        first = names.get(tuple(needed), "exchange")
        command = [sys.executable, "-m", "kvplace.solver.large_neighbourhood.warm", first]
        _started.append(0)
        with contextlib.suppress(OSError):  # where no process may be started, they stay unused
            _started.append(
                os.posix_spawn(sys.executable, command, os.environ, file_actions=null, setpgroup=0)
            )
    return False


def _alone() -> bool:
    """Return whether no other process compiles them; from now on this one does."""
    try:
        import fcntl  # noqa: PLC0415 - not everywhere, as nothing of this

        fcntl.flock(os.open(__file__, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # a file system without locks
        return True
    return True


def _search_a_little(first: str) -> None:
    """Call every kernel once, on a fleet of two GPUs, those of one kind first."""
    models = [
        Model(name, 10 * GIB, Demand(1.0), SLO(latency_seconds=2.0), tensor_parallel=(1, 2))
        for name in "abc"
    ]
    gpus = tuple(GPU(f"n/{index}", "any", 80 * GIB, link="0") for index in range(2))
    instance = load_instance(Problem(tuple(models), Fleet((Node("n", gpus),))))
    chooser, watch = Chooser(instance), Watch()
    board = min(construct(chooser, 0.0, watch), key=Assignment.worth)

    def exchange() -> None:
        iterate_mobile(board, 0.0, 1, 0, watch)

    def cover() -> None:
        one = np.ones(1)
        set_cover_kernel.tight_cover(one, one, one, one, np.ones(1, dtype=np.int64), 1, 1)

    def fill() -> None:
        target = 2 * board.worst()
        Refiller(chooser, 0, watch).pack_lowest(board, [(target, False)], 1, Crew(1))
        # No filling reaches a target so low, so that the program is asked.
        DomainProgram(chooser, 0, watch).pack(board, target / 3, 1, 1)

    def pairs() -> None:
        whole = [replace(model, tensor_parallel=(1,)) for model in models]
        plain = load_instance(Problem(tuple(whole), Fleet((Node("n", gpus),))))
        bisect_first_fit(plain.columns, 0.0, watch)
        _exchange_pairs(plain, watch)

    def even() -> None:
        n, ones = len(models), array("i", [1] * len(models))
        loads = array("d", [1.0, 2.0] * n)
        sizes, memory = array("q", [10 * GIB] * n), array("q", [80 * GIB] * 2)
        several = Instance(
            range(n + 1), ones, ones, sizes, array("q", [0] * n), loads, memory,
            array("q", range(n)), array("q", range(2)), kv_windows=(0, 1),
        )  # fmt: skip
        _exchange_pairs(several, watch)
        fill_by_pairs(several.columns, 1.0, 0, np.zeros(1, np.int64))

    def share() -> None:
        share_out.share_out(board, board.worst() / 2, watch, 0)

    def price() -> None:
        rooms = np.array([[1.0, 2.0], [2.0, 1.0]])
        table = CompiledKnapsack(
            np.vstack([rooms.mean(axis=0), rooms]), np.ones(2), np.full(3, 3.0)
        )
        table.dearest(1.0, 1)
        table.with_each()

    kinds = {
        "fill": fill, "exchange": exchange, "cover": cover, "pairs": pairs, "even": even,
        "share": share, "price": price,
    }  # fmt: skip
    for name in sorted(kinds, key=lambda name: name != first):
        kinds[name]()


def _exchange_pairs(instance: Instance, watch: Watch) -> None:
    """Call the kernels that exchange between many pairs of GPUs."""
    packing = most_room_first(instance.columns, 1.0)[0]
    with contextlib.closing(Crew(1)) as crew:
        improver = parallel_pairs.Improver(packing, 0.0, 0, crew, watch)
        improver.balance()
        improver.relieve(0.0, 1.0, 1.0)


if __name__ == "__main__":
    with contextlib.suppress(AttributeError, OSError):
        os.nice(_NICE)
    if _alone():
        _search_a_little(sys.argv[1] if sys.argv[1:] else "fill")
