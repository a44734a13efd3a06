"""A measurement as rows of text."""

import math
from collections import Counter
from collections.abc import Sequence

from kvplace.bench.measure import Run, Score, best_bounds
from kvplace.core.result import relative_gap
from kvplace.units import format_seconds

SMALLEST = 1e-9
TINY = 1e-6


def percent(share: float) -> str:
    """Print a share with what is worth reading of it: ``0``, ``0.004 %``, ``12.0 %``, a dash."""
    if not math.isfinite(share):
        return "-"
    if share <= SMALLEST:
        return "0"
    if share < TINY:
        return "<0.0001 %"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.1f} %"


def gap_rows(runs: Sequence[Run], totals: Sequence[Score]) -> list[dict[str, str]]:
    """Return one row per solver of a family: gaps, evidence, and who is below ``auto``."""
    found = []
    for score in totals:
        own = [r for r in runs if r.solver == score.solver and r.family == score.family]
        kinds = Counter(run.outcome.evidence.partition(":")[0] for run in own)
        found.append(
            {
                "solver": score.solver,
                "mean gap": percent(score.mean_gap),
                "max gap": percent(score.max_gap),
                "mean to best bound": percent(score.mean_excess),
                "max to best bound": percent(score.max_excess),
                "below auto": str(score.below_auto),
                "above auto": str(score.above_auto),
                "slowest": format_seconds(score.longest_seconds),
                "evidence": ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())),
            }
        )
    return found


def case_rows(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Return one row per case and solver."""
    bounds = best_bounds(runs)
    reference = {run.case: run for run in runs if run.solver == "reference"}
    found = []
    for run in runs:
        beside = reference.get(run.case)
        ratio = run.value / beside.value if beside and beside.solved and beside.value else math.nan
        found.append(
            {
                "case": run.case,
                "solver": run.solver,
                "max KVPR": f"{run.value:.10g}" if run.solved else "-",
                "bound": f"{run.bound:.10g}",
                "gap": percent(run.gap),
                "to best bound": percent(relative_gap(run.value, bounds[run.case])),
                "proved": "yes" if run.outcome.proved else "no",
                "evidence": run.outcome.evidence,
                "to reference": f"{ratio:.5f}" if math.isfinite(ratio) else "-",
                "time": format_seconds(run.outcome.seconds),
            }
        )
    return found
