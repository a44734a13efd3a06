"""kvplace decides which LLM runs on which GPU, and proves how near to the optimum it is.

The names below are the public ones. Each is imported where it is first used, so that
``import kvplace`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvplace.advice.explain import Explanation, explain
    from kvplace.advice.size import Sizing, size_fleet
    from kvplace.advice.stock import Stock, stock_of
    from kvplace.core.certificates.certificate import Bound, Certificate, check_certificate
    from kvplace.core.evaluation.constraints import Violation, misfits
    from kvplace.core.evaluation.evaluate import Evaluation, GPUEvaluation, Shard, evaluate
    from kvplace.core.hardware import GPU, Fleet, Node
    from kvplace.core.model import SLO, Demand, Model, Replicas
    from kvplace.core.objective import Objective
    from kvplace.core.placement import Migration, Placement, Replica
    from kvplace.core.problem import Problem
    from kvplace.core.result import Result, Status, Stop
    from kvplace.errors import (
        Fault,
        InputError,
        InternalError,
        KvplaceError,
        MissingExtraError,
        UnitError,
    )
    from kvplace.formats.check import check
    from kvplace.formats.fleet import read
    from kvplace.formats.plan import plan_of, read_plan, write_plan
    from kvplace.solver.clock import Progress, Watch
    from kvplace.solver.solve import refine, solve

__version__ = "0.1.0"

__all__ = [
    "GPU",
    "SLO",
    "Bound",
    "Certificate",
    "Demand",
    "Evaluation",
    "Explanation",
    "Fault",
    "Fleet",
    "GPUEvaluation",
    "InputError",
    "InternalError",
    "KvplaceError",
    "Migration",
    "MissingExtraError",
    "Model",
    "Node",
    "Objective",
    "Placement",
    "Problem",
    "Progress",
    "Replica",
    "Replicas",
    "Result",
    "Shard",
    "Sizing",
    "Status",
    "Stock",
    "Stop",
    "UnitError",
    "Violation",
    "Watch",
    "check",
    "check_certificate",
    "evaluate",
    "explain",
    "misfits",
    "plan_of",
    "read",
    "read_plan",
    "refine",
    "size_fleet",
    "solve",
    "stock_of",
    "write_plan",
]

_NAMES_OF = {
    "advice.explain": ("Explanation", "explain"),
    "advice.size": ("Sizing", "size_fleet"),
    "advice.stock": ("Stock", "stock_of"),
    "core.certificates.certificate": ("Bound", "Certificate", "check_certificate"),
    "core.evaluation.constraints": ("Violation", "misfits"),
    "core.evaluation.evaluate": ("Evaluation", "GPUEvaluation", "Shard", "evaluate"),
    "core.hardware": ("GPU", "Fleet", "Node"),
    "core.model": ("SLO", "Demand", "Model", "Replicas"),
    "core.objective": ("Objective",),
    "core.placement": ("Migration", "Placement", "Replica"),
    "core.problem": ("Problem",),
    "core.result": ("Result", "Status", "Stop"),
    "errors": (
        "Fault",
        "InputError",
        "InternalError",
        "KvplaceError",
        "MissingExtraError",
        "UnitError",
    ),
    "formats.check": ("check",),
    "formats.fleet": ("read",),
    "formats.plan": ("plan_of", "read_plan", "write_plan"),
    "solver.solve": ("refine", "solve"),
    "solver.clock": ("Progress", "Watch"),
}
_HOME = {name: f"kvplace.{home}" for home, names in _NAMES_OF.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'kvplace' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, imported yet or not."""
    return sorted([*__all__, "__version__"])
