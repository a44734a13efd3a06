"""Eligibility: the GPUs that types and hard rules let each model run on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from kvplace.core.hardware import GPU, Fleet, usable
from kvplace.core.rules.rule import Rule


def seats(links: Iterable[int], degree: int) -> int:
    """Return how many copies of a degree find GPUs of their own, each copy inside one link domain.

    Parameters
    ----------
    links
        GPUs per link domain.
    degree
        GPUs per copy.
    """
    return sum(width // degree for width in links)


@dataclass(frozen=True)
class Eligibility:
    """The GPUs that each model may run on.

    Parameters
    ----------
    fleet
        What there is to place on.
    names
        Names of the models.
    gpu_types
        GPU types that each model asks for.
    rules
        All rules; those count that must hold and say of each GPU by itself who may be there.
    """

    fleet: Fleet
    names: Sequence[str]
    gpu_types: Iterable[tuple[str, ...]]
    rules: tuple[Rule, ...]

    @cached_property
    def allowed(self) -> list[frozenset[str]]:
        """Ids of the GPUs that each model may run on; models with equal demands share one set."""
        by_type: dict[tuple[str, ...], frozenset[str]] = {}
        known: dict[tuple[object, ...], frozenset[str]] = {}
        found = []
        for name, types in zip(self.names, self.gpu_types, strict=True):
            rules = self._rules_of.get(name, ())
            key = (types, *((rule.kind, rule.named_places) for rule in rules)) if rules else types
            allowed = known.get(key)
            if allowed is None:
                if types not in by_type:
                    gpus = self.fleet.gpus
                    by_type[types] = frozenset(g.id for g in gpus if usable(g, types))
                allowed = by_type[types]
                for rule in rules:
                    allowed = rule.among(self.fleet, allowed)
                known[key] = allowed
            found.append(allowed)
        return found

    def _linked(self, index: int) -> list[list[GPU]]:
        """Return the GPUs that a model may run on, by link domain."""
        allowed = self.allowed[index]
        at = id(allowed)  # the sets are kept alive by `allowed`
        if at not in self._by_link:
            found = ([gpu for gpu in held if gpu.id in allowed] for held in self._every_link)
            self._by_link[at] = [some for some in found if some]
        return self._by_link[at]

    @cached_property
    def _by_link(self) -> dict[int, list[list[GPU]]]:
        return {}

    @cached_property
    def _every_link(self) -> list[list[GPU]]:
        """All GPUs by link domain."""
        found: dict[tuple[str, str], list[GPU]] = {}
        for node in self.fleet.nodes:
            for gpu in node.gpus:
                found.setdefault((node.name, gpu.link), []).append(gpu)
        return list(found.values())

    @cached_property
    def every_largest_bytes(self) -> list[int]:
        """Usable memory of the largest GPU that each model may run on; 0 for none."""
        known = {id(allowed): index for index, allowed in enumerate(self.allowed)}
        largest = {
            at: max((max(room) for room in self.rooms(index)), default=0)
            for at, index in known.items()
        }
        return [largest[id(allowed)] for allowed in self.allowed]

    def largest_bytes(self, index: int, degree: int) -> int:
        """Return the most bytes that each GPU of a copy of a degree can have to use, 0 for none.

        The GPUs of a copy share a link domain, so its smallest one counts.
        """
        if degree == 1:
            return self.every_largest_bytes[index]
        key = (id(self.allowed[index]), degree)  # the sets are kept alive by `allowed`
        if key not in self._largest:
            wide = (room for room in self.rooms(index) if len(room) >= degree)
            self._largest[key] = max((room[degree - 1] for room in wide), default=0)
        return self._largest[key]

    @cached_property
    def _largest(self) -> dict[tuple[int, int], int]:
        return {}

    def rooms(self, index: int) -> set[tuple[int, ...]]:
        """Return the usable bytes of the GPUs that a model may run on by link domain, most first.

        Domains with equal GPUs are one.
        """
        at = id(self.allowed[index])  # the sets are kept alive by `allowed`
        if at not in self._rooms:
            rooms = ([gpu.usable_bytes for gpu in gpus] for gpus in self._linked(index))
            self._rooms[at] = {tuple(sorted(room, reverse=True)) for room in rooms}
        return self._rooms[at]

    @cached_property
    def _rooms(self) -> dict[int, set[tuple[int, ...]]]:
        return {}

    def links(self, index: int) -> tuple[int, ...]:
        """Return how many GPUs each link domain holds that a model may run on, most first."""
        at = id(self.allowed[index])  # the sets are kept alive by `allowed`
        if at not in self._links:
            self._links[at] = tuple(sorted(map(len, self._linked(index)), reverse=True))
        return self._links[at]

    @cached_property
    def _links(self) -> dict[int, tuple[int, ...]]:
        return {}

    def seats(self, index: int, degree: int) -> int:
        """Return how many copies of a degree find GPUs of their own that a model may run on."""
        key = (id(self.allowed[index]), degree)  # the sets are kept alive by `allowed`
        if key not in self._seats:
            self._seats[key] = seats(self.links(index), degree)
        return self._seats[key]

    @cached_property
    def _seats(self) -> dict[tuple[int, int], int]:
        return {}

    def wide(self, index: int, degree: int) -> frozenset[tuple[str, int]]:
        """Return type and usable bytes of the GPUs on which a copy of a degree may have a shard.

        Their link domains hold so many GPUs that the model may run on.
        """
        key = (id(self.allowed[index]), degree)  # the sets are kept alive by `allowed`
        if key not in self._wide:
            wide = (gpus for gpus in self._linked(index) if len(gpus) >= degree)
            self._wide[key] = frozenset((g.type, g.usable_bytes) for gpus in wide for g in gpus)
        return self._wide[key]

    def widest_bytes(self, index: int, degree: int) -> int:
        """Return the usable bytes of the largest GPU in `wide`, 0 for none."""
        if degree == 1:
            return self.every_largest_bytes[index]
        return max((memory for _, memory in self.wide(index, degree)), default=0)

    @cached_property
    def _wide(self) -> dict[tuple[int, int], frozenset[tuple[str, int]]]:
        return {}

    def domains(self, index: int, key: str) -> tuple[str, ...]:
        """Return the domains of a topology key that hold a GPU a model may run on, sorted."""
        allowed = self.allowed[index]
        at = (id(allowed), key)  # the sets are kept alive by `allowed`
        if at not in self._domains:
            found = {self.fleet.domain(gpu, key) for gpu in allowed}
            self._domains[at] = tuple(sorted(domain for domain in found if domain is not None))
        return self._domains[at]

    @cached_property
    def _domains(self) -> dict[tuple[int, str], tuple[str, ...]]:
        return {}

    @cached_property
    def _rules_of(self) -> dict[str, list[Rule]]:
        """Hard rules that say of each GPU by itself who may be there, by the name of a model."""
        positions = dict.fromkeys(self.names)
        found: dict[str, list[Rule]] = {}
        for rule in self.rules:
            if rule.gpu_by_gpu and rule.soft is None:
                for name in rule.concerned(positions):
                    found.setdefault(name, []).append(rule)
        return found
