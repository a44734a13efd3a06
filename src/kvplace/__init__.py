"""kvplace decides which LLM runs on which GPU, and proves how near to the optimum it is.

The names below are the public ones. Each is imported where it is first used, so that
``import kvplace`` costs next to nothing.
"""

import sys
from importlib import import_module
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

from kvplace._version import __version__ as __version__
from kvplace.arguments import explained

if TYPE_CHECKING:
    from kvplace.checking.check import Check, check
    from kvplace.checking.load import load_plan
    from kvplace.core.certificates.by_rule import RuleCertificate
    from kvplace.core.certificates.certificate import Bound, Certificate, check_certificate
    from kvplace.core.certificates.claim import ProofTree
    from kvplace.core.evaluation.constraints import Violation, misfits
    from kvplace.core.evaluation.evaluate import Evaluation, GPUEvaluation, Shard, evaluate
    from kvplace.core.hardware import GPU, Fleet, Node
    from kvplace.core.models.demand import SLO, Demand
    from kvplace.core.models.kv_cache import SlidingWindow
    from kvplace.core.models.launch import Launch
    from kvplace.core.models.model import Attention, Model, Replicas, Split
    from kvplace.core.models.objective import Objective
    from kvplace.core.models.window import Window
    from kvplace.core.placement import Migration, Placement, Replica
    from kvplace.core.problem import Problem
    from kvplace.core.result import Result, Status, Stop
    from kvplace.core.rules.apart import Apart
    from kvplace.core.rules.forbid import Forbid
    from kvplace.core.rules.limit import Limit
    from kvplace.core.rules.pin import Pin
    from kvplace.core.rules.places import Places
    from kvplace.core.rules.reserve import Reserve
    from kvplace.core.rules.rule import Rule
    from kvplace.core.rules.spread import Spread
    from kvplace.core.rules.together import Together
    from kvplace.demand.read import demand
    from kvplace.demand.summary import DemandSummary
    from kvplace.errors import (
        Fault,
        InputError,
        InternalError,
        KvplaceError,
        MissingExtraError,
        UnitError,
    )
    from kvplace.explain.explain import Explanation, explain
    from kvplace.export.export import Export, export
    from kvplace.facts.catalogue.gpus import GPUType, gpu_types
    from kvplace.facts.catalogue.models import KnownModel, known_models
    from kvplace.facts.find import find_facts
    from kvplace.facts.model_facts import ModelFacts
    from kvplace.forecast.forecast import forecast
    from kvplace.forecast.outcome import Forecast
    from kvplace.forecast.rules import Rules
    from kvplace.forecast.share_timing import ShareTiming
    from kvplace.forecast.times import StepTimes
    from kvplace.formats.fleet.write import write_fleet
    from kvplace.formats.observation import (
        Observation,
        observed_placement,
        read_observation,
        write_observation,
    )
    from kvplace.formats.plan.io import read_plan, write_plan
    from kvplace.formats.plan.of_result import plan_of
    from kvplace.formats.plan.stated import Plan
    from kvplace.formats.plan.table import PlanTable
    from kvplace.formats.proposal import Proposal, read_proposal, write_proposal
    from kvplace.formats.read import read
    from kvplace.observe.observe import observe
    from kvplace.replan.history.backtest import Strategy, Track, backtest
    from kvplace.replan.history.demands import Demands
    from kvplace.replan.history.trigger import Decision, History, Policy
    from kvplace.replan.outcome import Budget, FrontierPoint, Replan
    from kvplace.replan.proposal import Verification, propose, verify
    from kvplace.replan.replan import replan
    from kvplace.replan.schedule.sequence import sequence
    from kvplace.replan.schedule.steps import Pause, Pricing, Schedule, Step
    from kvplace.replan.watch import Watched, watch
    from kvplace.report.answers.differences import Differences, diff
    from kvplace.report.report import Report, report
    from kvplace.scaffold.init import Draft, init
    from kvplace.scaffold.models import Wishes
    from kvplace.simulate.compare import Compared, compare
    from kvplace.simulate.outcome import Simulation
    from kvplace.simulate.run import simulate
    from kvplace.simulate.served import Served, served
    from kvplace.simulate.traffic import Traffic
    from kvplace.size.answer import Sizing
    from kvplace.size.fewer import Fewer, Saving, solve_fewer
    from kvplace.size.size import size_fleet
    from kvplace.size.stock import Stock, stock_of
    from kvplace.solver.clock import Progress, Watch
    from kvplace.solver.robust import Robust, solve_robust
    from kvplace.solver.solve import refine, solve
    from kvplace.workers import Workers

__all__ = [
    "GPU",
    "SLO",
    "Apart",
    "Attention",
    "Bound",
    "Budget",
    "Certificate",
    "Check",
    "Compared",
    "Decision",
    "Demand",
    "DemandSummary",
    "Demands",
    "Differences",
    "Draft",
    "Evaluation",
    "Explanation",
    "Export",
    "Fault",
    "Fewer",
    "Fleet",
    "Forbid",
    "Forecast",
    "FrontierPoint",
    "GPUEvaluation",
    "GPUType",
    "History",
    "InputError",
    "InternalError",
    "KnownModel",
    "KvplaceError",
    "Launch",
    "Limit",
    "Migration",
    "MissingExtraError",
    "Model",
    "ModelFacts",
    "Node",
    "Objective",
    "Observation",
    "Pause",
    "Pin",
    "Placement",
    "Places",
    "Plan",
    "PlanTable",
    "Policy",
    "Pricing",
    "Problem",
    "Progress",
    "ProofTree",
    "Proposal",
    "Replan",
    "Replica",
    "Replicas",
    "Report",
    "Reserve",
    "Result",
    "Robust",
    "Rule",
    "RuleCertificate",
    "Rules",
    "Saving",
    "Schedule",
    "Served",
    "Shard",
    "ShareTiming",
    "Simulation",
    "Sizing",
    "SlidingWindow",
    "Split",
    "Spread",
    "Status",
    "Step",
    "StepTimes",
    "Stock",
    "Stop",
    "Strategy",
    "Together",
    "Track",
    "Traffic",
    "UnitError",
    "Verification",
    "Violation",
    "Watch",
    "Watched",
    "Window",
    "Wishes",
    "Workers",
    "backtest",
    "check",
    "check_certificate",
    "compare",
    "demand",
    "diff",
    "evaluate",
    "explain",
    "export",
    "find_facts",
    "forecast",
    "gpu_types",
    "init",
    "known_models",
    "load_plan",
    "misfits",
    "observe",
    "observed_placement",
    "plan_of",
    "propose",
    "read",
    "read_observation",
    "read_plan",
    "read_proposal",
    "refine",
    "replan",
    "report",
    "sequence",
    "served",
    "simulate",
    "size_fleet",
    "solve",
    "solve_fewer",
    "solve_robust",
    "stock_of",
    "verify",
    "watch",
    "write_fleet",
    "write_observation",
    "write_plan",
    "write_proposal",
]

_NAMES_OF = {
    "core.certificates.certificate": ("Bound", "Certificate", "check_certificate"),
    "core.evaluation.constraints": ("Violation", "misfits"),
    "core.evaluation.evaluate": ("Evaluation", "GPUEvaluation", "Shard", "evaluate"),
    "core.hardware": ("GPU", "Fleet", "Node"),
    "core.models.demand": ("Demand", "SLO"),
    "core.models.model": ("Attention", "Model", "Replicas", "Split"),
    "core.models.objective": ("Objective",),
    "core.placement": ("Migration", "Placement", "Replica"),
    "core.problem": ("Problem",),
    "core.result": ("Result", "Status", "Stop"),
    "core.models.window": ("Window",),
    "forecast.share_timing": ("ShareTiming",),
    "errors": (
        "Fault",
        "InputError",
        "InternalError",
        "KvplaceError",
        "MissingExtraError",
        "UnitError",
    ),
    "explain.explain": ("Explanation", "explain"),
    "forecast.forecast": ("Forecast", "forecast"),
    "forecast.rules": ("Rules",),
    "checking.check": ("Check", "check"),
    "formats.plan.io": ("plan_of", "read_plan", "write_plan"),
    "formats.read": ("read",),
    "simulate.compare": ("Compared", "compare"),
    "simulate.outcome": ("Simulation",),
    "simulate.run": ("simulate",),
    "simulate.served": ("Served", "served"),
    "demand.read": ("demand",),
    "demand.summary": ("DemandSummary",),
    "scaffold.init": ("Draft", "init"),
    "scaffold.models": ("Wishes",),
    "export.export": ("Export", "export"),
    "checking.load": ("load_plan",),
    "report.answers.differences": ("Differences", "diff"),
    "report.report": ("Report", "report"),
    "size.fewer": ("Fewer", "Saving", "solve_fewer"),
    "size.answer": ("Sizing",),
    "size.size": ("size_fleet",),
    "size.stock": ("Stock", "stock_of"),
    "replan.outcome": ("Budget", "FrontierPoint", "Replan"),
    "replan.replan": ("replan",),
    "replan.schedule.sequence": ("sequence",),
    "replan.schedule.steps": ("Pause", "Pricing", "Schedule", "Step"),
    "solver.clock": ("Progress", "Watch"),
    "solver.robust": ("Robust", "solve_robust"),
    "solver.solve": ("refine", "solve"),
    "core.models.kv_cache": ("SlidingWindow",),
    "core.models.launch": ("Launch",),
    "core.rules.apart": ("Apart",),
    "core.rules.forbid": ("Forbid",),
    "core.rules.limit": ("Limit",),
    "core.rules.pin": ("Pin",),
    "core.rules.places": ("Places",),
    "core.rules.reserve": ("Reserve",),
    "core.rules.rule": ("Rule",),
    "core.rules.spread": ("Spread",),
    "core.rules.together": ("Together",),
    "formats.fleet.write": ("write_fleet",),
    "facts.find": ("find_facts",),
    "facts.catalogue.gpus": ("GPUType", "gpu_types"),
    "facts.catalogue.models": ("KnownModel", "known_models"),
    "replan.history.backtest": ("Strategy", "Track", "backtest"),
    "replan.proposal": ("Verification", "propose", "verify"),
    "replan.history.trigger": ("Decision", "History", "Policy"),
    "replan.watch": ("Watched", "watch"),
    "observe.observe": ("observe",),
    "formats.observation": (
        "Observation",
        "observed_placement",
        "read_observation",
        "write_observation",
    ),
    "replan.history.demands": ("Demands",),
    "facts.model_facts": ("ModelFacts",),
    "formats.plan.stated": ("Plan",),
    "formats.plan.table": ("PlanTable",),
    "core.certificates.claim": ("ProofTree",),
    "formats.proposal": ("Proposal", "read_proposal", "write_proposal"),
    "core.certificates.by_rule": ("RuleCertificate",),
    "forecast.times": ("StepTimes",),
    "simulate.traffic": ("Traffic",),
    "workers": ("Workers",),
}
_HOME = {name: f"kvplace.{home}" for home, names in _NAMES_OF.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'kvplace' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    if isinstance(value, FunctionType):
        value = explained(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, imported yet or not."""
    return sorted([*__all__, "__version__"])


class _Package(ModuleType):
    """Keeps a public function where a room has its name, such as `explain`.

    The import system makes each room an attribute of this package. Where a public name is the
    same, the attribute stays the public one; ``from kvplace.explain.x import y`` works as ever.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
