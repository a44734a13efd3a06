"""What a plan in columns states, compared with what is found."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.certificate import Certificate
from kvplace.core.evaluation.evaluate import Evaluation
from kvplace.core.problem import Problem
from kvplace.formats.plan.parquet import PlanColumns

__all__ = ["certificate_of", "differing_rows", "number_of"]

MOST = 50
"""Rows that are named; more are told by their number."""


def differing_rows(
    problem: Problem, plan: PlanColumns, evaluation: Evaluation, tolerance: float
) -> Iterator[tuple[str, str]]:
    """Yield where rows state other weights or loads than their shards have, and what."""
    real: dict[tuple[str, int, int], tuple[int, float]] = {}
    undivided = problem.plain and not any(plan.replicas) and not any(plan.shards)
    if not undivided:
        for gpu in evaluation.gpus:
            for shard in gpu.shards:
                key = (shard.model, shard.replica, shard.index)
                real[key] = (shard.weights_bytes, shard.load)
    differing = 0
    same_order = undivided and list(plan.models) == list(problem.names)
    for row, name in enumerate(plan.models):
        if undivided:
            index = row if same_order else problem.index_of.get(name)
            if index is None:
                continue  # noted as unknown
            taken, load = problem.undivided_bytes[index], problem.loads[index]
        else:
            found = real.get((name, plan.replicas[row], plan.shards[row]))
            if found is None:
                continue
            taken, load = found
        wrong: list[tuple[str, float, float]] = []
        if plan.weights_bytes and plan.weights_bytes[row] != taken:
            wrong.append(("weights_bytes", plan.weights_bytes[row], taken))
        if plan.loads and not math.isclose(plan.loads[row], load, rel_tol=tolerance):
            wrong.append(("load", plan.loads[row], load))
        for column, stated, is_ in wrong:
            differing += 1
            if differing <= MOST:
                yield f"rows[{row}].{column}", f"the plan states {stated!r}; it is {is_!r}"
    if differing > MOST:
        yield "rows", f"{differing - MOST} more numbers are not what the plan states"


def number_of(value: Any) -> float:
    """Return a number of the head, where nothing stands for infinity; NaN for what is none."""
    if value is None:
        return math.inf
    return float(value) if isinstance(value, int | float) else math.nan


def certificate_of(stated: Any, problem: Problem) -> Certificate | RuleCertificate | str:
    """Return the certificate that the head states, or why there is none."""
    try:
        threshold = number_of(stated["threshold"])
        if "rule" in stated:
            windows = [window.name for window in problem.windows]
            return RuleCertificate(
                threshold,
                str(stated["rule"]),
                str(stated["model"]),
                str(stated.get("resource", "kv")),
                windows.index(stated["window"]) if "window" in stated else 0,
            )
        prices = dict(zip(stated["models"], stated["prices"], strict=True))
        ordered = tuple(
            tuple(price) if isinstance(price, list) else price
            for price in (prices[name] for name in problem.names)
        )
        worths = tuple((memory, worth) for memory, worth in stated["worths"])
        scope = tuple(stated["scope"])
        if "weights" not in stated:
            return Certificate(threshold, ordered, worths, scope)
        at = {name: position for position, name in enumerate(stated["windows"])}
        order = [at[window.name] for window in problem.windows]
        both = (*order, *(position + len(at) for position in order))
        weights = tuple(tuple(row[position] for position in both) for row in stated["weights"])
        return Certificate(threshold, ordered, worths, scope, weights, tuple(stated["types"]))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return f"it is not a certificate of this problem: {error!r}"
