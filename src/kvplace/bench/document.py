"""A measurement as a document that programs read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from kvplace.bench.measure import Run, best_bounds, scores
from kvplace.core.result import relative_gap

SCHEMA = "kvplace.bench/v1"

Cell = str | int | float | None


def rows(runs: Sequence[Run]) -> list[dict[str, Cell]]:
    """Return one flat row per run, with its ratios to ``reference`` and ``auto``."""
    bounds = best_bounds(runs)
    by_solver = {
        solver: {run.case: run for run in runs if run.solver == solver}
        for solver in ("reference", "auto")
    }
    found: list[dict[str, Cell]] = []
    for run in runs:
        reference, auto = (by_solver[name].get(run.case) for name in ("reference", "auto"))
        seconds = run.outcome.seconds
        found.append(
            {
                "family": run.family,
                "case": run.case,
                "models": run.models,
                "gpus": run.gpus,
                "solver": run.solver,
                "value": run.value,
                "bound": run.bound,
                "gap": run.gap,
                "best_bound": bounds[run.case],
                "excess": relative_gap(run.value, bounds[run.case]),
                "optimum": run.optimum,
                "proved": run.outcome.proved,
                "evidence": run.outcome.evidence,
                "seconds": seconds,
                "value_to_reference": _ratio(run.value, reference.value if reference else None),
                "seconds_to_reference": _ratio(
                    seconds, reference.outcome.seconds if reference else None
                ),
                "value_to_auto": _ratio(run.value, auto.value if auto else None),
            }
        )
    return found


def document(
    runs: Sequence[Run],
    *,
    seeds: Sequence[int],
    seed: int,
    time_limit: float | None,
    absent: Mapping[str, str],
    environment: Mapping[str, object],
) -> dict[str, object]:
    """Return everything about a measurement.

    Parameters
    ----------
    runs
        What was measured.
    seeds, seed, time_limit
        Seeds of the cases, seed of the solvers, and the limit per case and solver.
    absent
        Solvers asked for that could not run, each with the reason.
    environment
        `kvplace.bench.environment.environment`, taken before the measurement: files may change
        under it, the code that was loaded does not.
    """
    return {
        "schema": SCHEMA,
        "families": list(dict.fromkeys(run.family for run in runs)),
        "solvers": list(dict.fromkeys(run.solver for run in runs)),
        "absent": dict(absent),
        "case_seeds": list(seeds),
        "solver_seed": seed,
        "time_limit_seconds": time_limit,
        "environment": dict(environment),
        "scores": [asdict(score) for score in scores(runs)],
        "runs": rows(runs),
    }


def _ratio(a: float, b: float | None) -> float | None:
    """Return a / b; None where that says nothing."""
    return a / b if b else None
