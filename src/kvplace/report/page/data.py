"""What a page about a plan says, as plain values: every figure computed from its evaluation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kvplace.core.certificates.claim import ProofTree
from kvplace.core.evaluation.evaluate import GPUEvaluation, Shard, part_of
from kvplace.core.hardware import Node
from kvplace.core.models.objective import Objective
from kvplace.core.result import Result, Status, evaluated, placed
from kvplace.report.heat import FULL, TIGHT, is_share, kvpr_text, pressure_class
from kvplace.report.page.recommendation import recommendation, sources
from kvplace.report.text import clean, copies_text, names_text, short_names, shorten
from kvplace.units import GIB, format_count, format_percent

SMALL_GAP = 0.01
"""Gap up to which a plan counts as good without a word of warning."""
WHOLE_LIMIT = 1000
"""GPUs up to which every one has a row."""
SEGMENT_LIMIT = 200
"""GPUs up to which a bar shows each model's weights by itself."""
OPEN_LIMIT = 48
"""GPUs up to which every node is open from the start."""
WORST_SHOWN = 100
NODES_SHOWN = 24
MODELS_SHOWN = 50
_NAMES_WIDTH = 300


def page_values(result: Result) -> dict[str, Any]:
    """Return what the templates show of one plan."""
    evaluation, problem, placement = evaluated(result), result.problem, placed(result)
    worst, occupancy = evaluation.value, is_share(result)
    gpus = {gpu.id: gpu for gpu in evaluation.gpus}
    count = len(evaluation.gpus)
    names = {name: clean(short) for name, short in
             short_names(model.name for model in problem.models).items()}  # fmt: skip
    largest = max(gpu.memory_bytes for gpu in evaluation.gpus)
    degrees = {(r.model, r.index): len(r.gpus) for r in placement}
    look = _Look(worst, largest, occupancy, count <= SEGMENT_LIMIT, names, degrees)
    nodes = []
    for node in problem.fleet.nodes:
        rows = sorted((gpus[g.id] for g in node.gpus), key=lambda g: (-g.pressure, not g.shards))
        nodes.append(_node(node.name, rows, look, whole=count <= WHOLE_LIMIT))
    bare = [node for node, row in zip(problem.fleet.nodes, nodes, strict=True)
            if row["idle"] == row["count"]]  # fmt: skip
    nodes = [row for row in nodes if row["idle"] < row["count"]]
    nodes.sort(key=lambda row: -row["order"])
    for index, row in enumerate(nodes):
        row["open"] = count <= OPEN_LIMIT or (index < 2 and count <= WHOLE_LIMIT)
    ranked = sorted(evaluation.gpus, key=lambda gpu: -gpu.pressure)
    profile = [gpu.pressure for gpu in ranked]
    models = _models(result)
    head, advice = recommendation(result)
    return {
        "occupancy": occupancy,
        "several": problem.goal is Objective.PRESSURE,
        "timed": bool(evaluation.gpus[0].time_shares),
        "objective": problem.goal.value,
        "quantile": "" if problem.quantile is None else f"{100 * problem.quantile:g} %",
        "unit": problem.goal.unit,
        "worst": kvpr_text(worst, occupancy=occupancy, exact=True),
        "worst_gpu": clean(ranked[0].id),
        "median": kvpr_text(profile[count // 2], occupancy=occupancy),
        "value": worst,
        "count": count,
        "idle": sum(1 for gpu in evaluation.gpus if not gpu.shards),
        "models_count": len(problem.models),
        "replicas": len(placement),
        "split": any(degree > 1 for degree in degrees.values()),
        "free": sum(gpu.free_bytes for gpu in evaluation.gpus) / GIB,
        "weights": sum(gpu.weights_bytes for gpu in evaluation.gpus) / GIB,
        "memory": sum(gpu.memory_bytes for gpu in evaluation.gpus) / GIB,
        "nodes": nodes,
        "nodes_count": len(problem.fleet.nodes),
        "idle_nodes": _idle_nodes(bare),
        "nodes_shown": NODES_SHOWN,
        "whole": count <= WHOLE_LIMIT,
        "worst_rows": [] if count <= WHOLE_LIMIT else [look.row(g) for g in ranked[:WORST_SHOWN]],
        "segments": look.segments,
        "profile": profile,
        "bars": [_bar(gpu, names) for gpu in ranked] if count <= SEGMENT_LIMIT else [],
        "models": models,
        "models_shown": models[:MODELS_SHOWN],
        "gpu_ids": [clean(gpu.id) for gpu in evaluation.gpus],
        "legend": _legend(occupancy=occupancy),
        "claim": _claim(result),
        "head": head,
        "advice": advice,
        "sources": sources(result),
    }


@dataclass(frozen=True, slots=True)
class _Look:
    """How GPUs become rows."""

    worst: float
    largest: int
    occupancy: bool
    segments: bool
    names: dict[str, str]
    degrees: dict[tuple[str, int], int]

    def row(self, gpu: GPUEvaluation) -> dict[str, Any]:
        """Return one GPU as a row: widths are percentages of the largest GPU of the fleet."""
        free = max(0, gpu.free_bytes)
        used = min(1.0, gpu.kvpr) if self.occupancy and math.isfinite(gpu.kvpr) else 0.0
        seen: dict[str, int] = {}
        for shard in gpu.shards:
            seen[shard.model] = seen.get(shard.model, 0) + shard.weights_bytes
        shards = {shard.model: shard for shard in gpu.shards}
        weights = sorted(seen.values(), reverse=True) if self.segments else [gpu.weights_bytes]
        return {
            "id": clean(gpu.id),
            "time": kvpr_text(max(gpu.time_shares), occupancy=True) if gpu.time_shares else "",
            "kvpr": kvpr_text(gpu.pressure, occupancy=self.occupancy),
            "class": pressure_class(gpu.pressure, self.worst, occupancy=self.occupancy),
            "weights": [100 * part / self.largest for part in weights if part],
            "used": 100 * used * free / self.largest,
            "rest": 100 * (1 - used) * free / self.largest,
            "weights_gib": gpu.weights_bytes / GIB,
            "free_gib": gpu.free_bytes / GIB,
            "memory_gib": gpu.memory_bytes / GIB,
            "models": [self._shard(shard) for shard in shards.values()],
        }

    def _shard(self, shard: Shard) -> dict[str, str]:
        """Return what is said of a shard: its model, and which part of how many it is."""
        degree = self.degrees[shard.model, shard.replica]
        part = f"{shard.index + 1}/{degree}" if degree > 1 else ""
        return {"name": self.names[shard.model], "full": clean(shard.model), "part": part}


def _node(name: str, gpus: Sequence[GPUEvaluation], look: _Look, *, whole: bool) -> dict[str, Any]:
    """Return one node with its GPUs, the worst first."""
    kinds = sorted({gpu.type for gpu in gpus})
    rated = [gpu.pressure for gpu in gpus]
    mean = math.fsum(rated) / len(rated) if rated else 0.0
    worst = max(rated, default=0.0)
    return {
        "name": clean(name),
        "kind": clean(", ".join(kinds)),
        "order": worst,
        "worst": kvpr_text(worst, occupancy=look.occupancy),
        "class": pressure_class(worst, look.worst, occupancy=look.occupancy),
        "mean": kvpr_text(mean, occupancy=look.occupancy),
        "free_gib": sum(gpu.free_bytes for gpu in gpus) / GIB,
        "count": len(gpus),
        "idle": sum(1 for gpu in gpus if not gpu.shards),
        "tiles": [pressure_class(k, look.worst, occupancy=look.occupancy) for k in rated],
        "rows": [look.row(gpu) for gpu in gpus if gpu.shards] if whole else [],
    }


def _idle_nodes(nodes: Sequence[Node]) -> list[str]:
    """Return a sentence for each kind of node on which nothing runs."""
    alike: dict[str, list[str]] = {}
    for node in nodes:
        alike.setdefault(node.contents, []).append(node.name)
    return [
        f"{format_count(len(names), 'idle node')} of {clean(contents)}: "
        f"{shorten(names_text(names), _NAMES_WIDTH)}"
        for contents, names in alike.items()
    ]


def _models(result: Result) -> list[dict[str, Any]]:
    """Return the models, those on the worst GPUs first."""
    evaluation, placement, occupancy = evaluated(result), placed(result), is_share(result)
    kvpr = {gpu.id: gpu.pressure for gpu in evaluation.gpus}
    load: dict[str, float] = {}
    for gpu in evaluation.gpus:
        for shard in gpu.shards:
            load[shard.model] = max(load.get(shard.model, 0.0), part_of(shard, gpu))
    placed_on: dict[str, list[tuple[str, ...]]] = {}
    degrees = {replica.model: len(replica.gpus) for replica in placement}
    found_by: dict[str, list[str]] = {}  # ids that a short form does not spell out
    for replica in placement:
        placed_on.setdefault(replica.model, []).append(replica.gpus)
        if len(replica.gpus) > 1:
            found_by.setdefault(replica.model, []).extend(replica.gpus)
    worst: dict[str, float] = {}
    for replica in placement:
        hottest = max(kvpr[gpu] for gpu in replica.gpus)
        worst[replica.model] = max(worst.get(replica.model, 0.0), hottest)
    found: list[dict[str, Any]] = [
        {
            "name": clean(model.name),
            "replicas": len(placed_on.get(model.name, [])),
            "degree": degrees.get(model.name, 1),
            "ids": clean(" ".join(found_by.get(model.name, []))),
            "gpus": list(map(clean, copies_text(placed_on.get(model.name, [])))),
            "weights": f"{model.weights_bytes / GIB:,.1f}",
            "rate": f"{model.demand.requests_per_second:.3g}",
            "part": f"{100 * load.get(model.name, 0.0):.0f} %",
            "worst": kvpr_text(worst.get(model.name, 0.0), occupancy=occupancy),
            "order": (-worst.get(model.name, 0.0), -load.get(model.name, 0.0), model.name),
        }
        for model in result.problem.models
    ]
    found.sort(key=lambda row: row["order"])
    return found


def _bar(gpu: GPUEvaluation, names: dict[str, str]) -> tuple[str, str]:
    """Return the id and the models of a GPU."""
    held = dict.fromkeys(names[shard.model] for shard in gpu.shards)
    return clean(gpu.id), ", ".join(held) or "idle"


def _legend(*, occupancy: bool) -> list[str]:
    """Return what each class of pressure means."""
    tight = f"{100 * TIGHT:.0f} %"
    if occupancy:
        return [f"under {tight}", f"{tight} to 100 %", "over 100 %"]
    return [f"under {tight} of the worst", f"{tight} of the worst and more"]


def _claim(result: Result) -> dict[str, Any]:
    """Return what is proved, in words."""
    if not result.solver:
        return {"known": False, "badge": "not proved", "good": False, "words":
                "The plan file states no bound."}  # fmt: skip
    bound = kvpr_text(result.bound, occupancy=is_share(result), exact=True)
    if isinstance(result.proof.certificate, ProofTree):
        evidence = "a proof tree, checked again for this page"
    elif result.proof.certificate is not None:
        evidence = f"a {result.proof.method} certificate, checked again for this page"
    elif result.proof.method == "search":
        evidence = "exhaustive search, which is not written down"
    else:
        evidence = "the trivial bound"
    optimal = result.status is Status.OPTIMAL
    overloaded = is_share(result) and result.value >= FULL
    if optimal:
        badge, words = "Proved optimal", f"No plan does better: proved by {evidence}."
    elif math.isinf(result.gap):
        badge, words = "No bound", "No bound above 0 is proved."
    else:
        gap = format_percent(result.gap)
        badge = f"Within {gap} of the optimum"
        words = f"No plan is below {bound}: proved by {evidence}."
    return {
        "known": True,
        "good": (optimal or result.gap <= SMALL_GAP) and not overloaded,
        "badge": badge,
        "words": words,
        "bound": bound,
        "bound_value": result.bound,
        "gap": "0 %" if result.gap <= 1e-9 else format_percent(result.gap),
        "solver": result.solver,
        "seconds": result.seconds,
    }
