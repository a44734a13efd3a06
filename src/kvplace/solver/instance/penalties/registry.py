"""Registry: the penalty of each kind of rule, found by looking into this folder."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any, Protocol

from kvplace.solver.instance import penalties
from kvplace.solver.instance.penalties.tracker import Ground, MakeTracker

__all__ = ["Penalty", "penalty_kinds"]


class Penalty(Protocol):
    """Makes what keeps up the amount by which a rule of one kind fails."""

    def __call__(
        self, rule: Any, ground: Ground, concerned: list[int]
    ) -> tuple[list[int], MakeTracker]:
        """Return labels of the GPUs and what makes a tracker.

        Between GPUs of one label a shard moves without a change to the rule.

        Parameters
        ----------
        rule
            The rule, of the kind that the penalty is registered for.
        ground
            What trackers are made from.
        concerned
            Models of which the rule speaks.
        """
        ...


@cache
def penalty_kinds() -> Mapping[str, Penalty]:
    """Return the penalties by `Rule.kind`.

    A penalty is a module of this folder with a ``KIND`` and a ``penalty``.
    """
    found: dict[str, Penalty] = {}
    for name in iter_modules(penalties.__path__, f"{penalties.__name__}."):
        module = import_module(name.name)
        if hasattr(module, "KIND"):
            found[module.KIND] = module.penalty
    return MappingProxyType(found)
