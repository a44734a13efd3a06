"""Registry: the penalty of each kind of rule, found by looking into this folder."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from kvplace.solver.instance import penalties
from kvplace.solver.instance.penalties.tracker import DomainTracker


@cache
def penalty_kinds() -> Mapping[str, type[DomainTracker]]:
    """Return the trackers by `Rule.kind`: the classes of this folder that have a ``kind``."""
    for module in iter_modules(penalties.__path__, f"{penalties.__name__}."):
        import_module(module.name)
    return MappingProxyType({found.kind: found for found in DomainTracker.__subclasses__()})
