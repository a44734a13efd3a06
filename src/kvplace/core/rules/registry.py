"""Registry: every kind of rule, found by looking into this folder."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from kvplace.core import rules
from kvplace.core.rules.rule import Rule


@cache
def rule_kinds() -> Mapping[str, type[Rule]]:
    """Return the classes of all rules by `Rule.kind`, in the order of the kinds.

    A rule is a module of this folder whose public class has a `Rule.kind`.
    """
    found: dict[str, type[Rule]] = {}
    for module in iter_modules(rules.__path__, f"{rules.__name__}."):
        for public in vars(import_module(module.name)).values():
            if isinstance(public, type) and issubclass(public, Rule) and "kind" in vars(public):
                found[public.kind] = public
    return MappingProxyType(dict(sorted(found.items())))
