"""A plan in columns: one row per shard as in its CSV form, and the rest of the plan beside them."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kvplace._version import __version__
from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.objective import Objective
from kvplace.core.placement import Assigned, Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.result import Result
from kvplace.errors import InputError
from kvplace.formats.diagnostics import Report
from kvplace.formats.plan.csv import COLUMNS
from kvplace.formats.plan.stated import PLAN_SCHEMA
from kvplace.formats.tables.arrow import Columns, numbers, texts, whole, write_parquet
from kvplace.formats.validation.csv_rows import check_header

__all__ = ["PlanColumns", "plan_bytes", "plan_of_columns"]

KEY = "kvplace.plan"
"""Where in the file's metadata the rest of the plan is."""


@dataclass(frozen=True, slots=True)
class PlanColumns:
    """What the columnar form of a plan states.

    Parameters
    ----------
    head
        The rest of the plan, as JSON has it: status, objective, certificate and so on.
    models, gpus
        (rows,) name of the model and id of the GPU of each shard.
    replicas, shards
        (rows,) number of the copy, and rank within it.
    weights_bytes, loads
        (rows,) what each shard takes.
    """

    head: dict[str, Any]
    models: Sequence[str]
    gpus: tuple[Sequence[str], array[int]]
    replicas: array[int]
    shards: array[int]
    weights_bytes: array[int]
    loads: array[float]

    @property
    def objective(self) -> str | None:
        """Name of the load; None where it is not stated."""
        stated = self.head.get("objective")
        name = stated.get("name") if isinstance(stated, dict) else None
        return name if isinstance(name, str) else None

    @property
    def placement(self) -> Placement:
        """The decision."""
        ids, at = self.gpus
        undivided = not any(self.replicas) and not any(self.shards)
        if undivided and len(set(self.models)) == len(self.models):
            return Placement(Assigned(self.models, ids, at))
        groups: dict[tuple[str, int], dict[int, str]] = {}
        for row, model in enumerate(self.models):
            group = groups.setdefault((model, self.replicas[row]), {})
            while self.shards[row] in group:  # stated twice: then the degree is wrong, and told
                group[len(group) + self.shards[row] + 1] = group.pop(self.shards[row])
            group[self.shards[row]] = ids[at[row]]
        return Placement(
            tuple(
                Replica(model, number, tuple(gpus[rank] for rank in sorted(gpus)))
                for (model, number), gpus in groups.items()
            )
        )

    def placement_for(self, problem: Problem) -> Placement:
        """Return the decision in the order of a problem's models and GPUs, where it is for it."""
        placement = self.placement
        held = placement.replicas
        if not isinstance(held, Assigned) or len(held.names) != len(problem.names):
            return placement
        position = {gpu.id: at for at, gpu in enumerate(problem.fleet.gpus)}
        real = [position.get(gpu, -1) for gpu in held.gpu_ids]
        gpu_of = array("q", [real[at] for at in held.gpu_of])
        if held.names != problem.names:
            models = problem.index_of
            if any(name not in models for name in held.names):
                return placement
            ordered = array("q", gpu_of)
            for name, gpu in zip(held.names, gpu_of, strict=True):
                ordered[models[name]] = gpu
            gpu_of = ordered
        if min(gpu_of) < 0:
            return placement
        return Placement(Assigned(problem.names, list(position), gpu_of))


def plan_bytes(result: Result) -> bytes:
    """Return the Parquet file of a result that has a placement."""
    problem, placement = result.problem, result.placement
    assert placement is not None
    held = placement.replicas
    if isinstance(held, Assigned):
        count = len(held.names)
        none = array("i", bytes(4 * count))
        loads = problem.loads if isinstance(problem.loads, array) else array("d", problem.loads)
        columns: dict[str, object] = {
            "model": list(held.names),
            "replica": none,
            "shard": none,
            "gpu": (held.gpu_of, list(held.gpu_ids)),
            "weights_bytes": problem.undivided_bytes,
            "load": loads,
        }
    else:
        assert result.evaluation is not None
        rows = [(s, gpu.id) for gpu in result.evaluation.gpus for s in gpu.shards]
        columns = {
            "model": [s.model for s, _ in rows],
            "replica": array("i", [s.replica for s, _ in rows]),
            "shard": array("i", [s.index for s, _ in rows]),
            "gpu": [gpu for _, gpu in rows],
            "weights_bytes": array("q", [s.weights_bytes for s, _ in rows]),
            "load": array("d", [s.load for s, _ in rows]),
        }
    return write_parquet(columns, {KEY: json.dumps(_head(result), allow_nan=False)})


def _head(result: Result) -> dict[str, Any]:
    """Return what a plan states besides its rows."""
    proof = result.proof
    certificate: dict[str, Any] | None = None
    if isinstance(proof.certificate, RuleCertificate):
        certificate = {
            "rule": proof.certificate.rule,
            "threshold": _finite(proof.certificate.threshold),
            "model": proof.certificate.model,
        }
        if result.problem.goal is Objective.PRESSURE:
            window = result.problem.windows[proof.certificate.window].name
            certificate |= {"resource": proof.certificate.resource, "window": window}
    elif proof.certificate is not None:
        certificate = {
            "threshold": _finite(proof.certificate.threshold),
            "prices": list(proof.certificate.prices),
            "models": list(result.problem.names),
            "worths": list(proof.certificate.worths),
            "scope": list(proof.certificate.scope),
        }
        if proof.certificate.weights:
            certificate |= {
                "types": list(proof.certificate.types),
                "weights": list(proof.certificate.weights),
                "windows": [window.name for window in result.problem.windows],
            }
    return {
        "schema": PLAN_SCHEMA,
        "kvplace_version": __version__,
        "problem_digest": result.problem.digest,
        "status": result.status.value,
        "stop": result.stop.value,
        "objective": {
            "name": result.problem.goal.value,
            "value": _finite(result.value),
            "bound": _finite(result.bound),
            "gap": _finite(result.gap),
            "bound_method": proof.method,
        },
        "certificate": certificate,
        "solver": result.solver,
        "seed": result.seed,
        "iterations": result.iterations,
        "seconds": result.seconds,
    }


def plan_of_columns(columns: Columns, source: str) -> PlanColumns:
    """Return a plan that was written by `plan_bytes`, or rows alone.

    Raises
    ------
    InputError
        The columns are not those of a plan, or an entry is missing or no number.
    """
    report = Report(source)
    needed = ("model", "replica", "shard", "gpu")
    optional = [column for column in COLUMNS if column not in needed]
    check_header(list(columns.column_names), needed, optional, report, None)
    head: Any = {}
    stated = (columns.schema.metadata or {}).get(KEY.encode())
    try:
        head = json.loads(stated) if stated else {}
    except ValueError as error:
        raise InputError(f"its metadata {KEY!r} is not JSON: {error}", source) from None
    if not isinstance(head, dict):
        report.stop((), f"its metadata {KEY!r} is not a mapping")
    names = {}
    for column in ("model", "gpu"):
        values, at = texts(columns[column])
        for row in [row for row, i in enumerate(at) if i < 0][:50]:
            report.add(("rows", row, column), "is missing")
        names[column] = (values, at)
    counts = {}
    for column in ("replica", "shard"):
        counts[column] = whole(columns[column])
        for row in [row for row, n in enumerate(counts[column]) if n < 0][:50]:
            report.add(("rows", row, column), "is not a whole number of at least 0")
    report.refuse()
    values, at = names["model"]
    present = columns.column_names
    return PlanColumns(
        head=head,
        models=[values[i] for i in at],
        gpus=names["gpu"],
        replicas=counts["replica"],
        shards=counts["shard"],
        weights_bytes=whole(columns["weights_bytes"]) if "weights_bytes" in present else array("q"),
        loads=numbers(columns["load"])[0] if "load" in present else array("d"),
    )


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
