"""The scores of ``kvplace bench`` as text."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kvplace.report.tables.plan import Look
from kvplace.report.tables.scores import rows_table
from kvplace.units import format_seconds

if TYPE_CHECKING:
    from kvplace.bench.measure import Score


def scoreboard(totals: Sequence["Score"], look: Look | None = None) -> str:
    """Return one line per solver."""
    look = look or Look()
    return rows_table(
        [
            {
                "solver": score.solver,
                "solved": f"{score.solved}/{score.cases}",
                "optimal": f"{score.optimal}/{score.cases}",
                "proved": f"{score.proved}/{score.cases}",
                "mean max KVPR": _number(score.mean_value, ".10f"),
                "score": _number(score.score, ".6f"),
                "to reference": _number(score.ratio, ".5f"),
                "time": format_seconds(score.seconds),
            }
            for score in totals
        ],
        colour=look.colour,
        width=look.longest,
    )


def _number(value: float, form: str) -> str:
    """Print a number, or a dash for none."""
    return format(value, form) if math.isfinite(value) else "-"
