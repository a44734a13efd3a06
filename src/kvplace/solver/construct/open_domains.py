"""Open domains: the link domains by how many of their GPUs hold nothing yet."""

from collections.abc import Mapping, Sequence
from itertools import islice

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.instance.instance import Option

DOMAINS = 64
"""Link domains with as many open GPUs that are looked at for a copy."""


class OpenDomains:
    """Gives copies of split models whole GPUs of one link domain, of the fullest that has them.

    Copies of 8, 4 and 2 shards, the widest first, so fill link domains of 8 without a rest.

    Parameters
    ----------
    board
        Changed in place.
    gpus
        The open GPUs of each room.
    """

    def __init__(self, board: Assignment, gpus: Mapping[int, Sequence[int]]) -> None:
        self._board = board
        domain_of: list[int] = board.instance.columns.domain_of.tolist()
        self._open: dict[tuple[int, int], list[int]] = {}
        for room, some in gpus.items():
            for g in some:
                self._open.setdefault((room, domain_of[g]), []).append(g)
        # Domains of each room by the number of their open GPUs, in order.
        self._by_count: dict[int, dict[int, dict[int, None]]] = {room: {} for room in gpus}
        for (room, domain), some in self._open.items():
            self._by_count[room].setdefault(len(some), {})[domain] = None

    def place(self, j: int, option: Option, room: int) -> bool:
        """Place all copies of a model, or none where that breaks rules or finds no GPUs."""
        board = self._board
        taken: list[tuple[int, tuple[int, ...]]] = []
        for _ in range(option.copies):
            found = self._seat(j, option, room)
            if found is None:
                board.apply([(j, None, ())])
                for domain, seat in taken:
                    self._renew(room, domain, [*self._open[room, domain], *seat])
                return False
            domain, seat = found
            board.apply([(j, option, (*board.where[j], seat))])
            self._renew(room, domain, [g for g in self._open[room, domain] if g not in seat])
            taken.append(found)
        return True

    def _renew(self, room: int, domain: int, gpus: list[int]) -> None:
        """Note which GPUs of a domain are open now."""
        by_count = self._by_count[room]
        del by_count[len(self._open[room, domain])][domain]
        by_count.setdefault(len(gpus), {})[domain] = None
        self._open[room, domain] = gpus

    def _seat(self, j: int, option: Option, room: int) -> tuple[int, tuple[int, ...]] | None:
        """Return a domain and GPUs of it for one more copy where nothing is broken by it."""
        board, costs = self._board, self._board.costs
        allowed, copies = board.instance.columns.allowed[j], board.where[j]
        by_count = self._by_count[room]
        for count in sorted(by_count):
            if count < option.degree:
                continue
            for domain in list(islice(by_count[count], DOMAINS)):
                gpus = [g for g in self._open[room, domain] if allowed[g]]
                if len(gpus) < option.degree:
                    continue
                seat = tuple(sorted(gpus[: option.degree]))
                if costs.spares(j, copies, (*copies, seat)):
                    return domain, seat
        return None
