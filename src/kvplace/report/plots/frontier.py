"""What every budget buys, drawn: pressure and its bound over the number of changes."""

from typing import TYPE_CHECKING, Any

from kvplace.errors import InputError
from kvplace.replan.outcome import knee
from kvplace.report.plots.canvas import canvas

if TYPE_CHECKING:
    from kvplace.replan.outcome import Replan


def draw_frontier(found: "Replan", path: str) -> None:
    """Draw a frontier into a file.

    Parameters
    ----------
    found
        A re-plan with its frontier.
    path
        A ``.svg``, ``.png`` or ``.pdf`` file.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    InputError
        The suffix is none of the three, there is no point, or the file cannot be written.
    """
    if not found.frontier:
        raise InputError("there is nothing to draw: no placement was found at any budget", path)
    points = found.frontier
    with canvas(path, 8.0, 4.5) as figure:
        axes: Any = figure.add_subplot()
        moves = [p.moves for p in points]
        axes.step(moves, [p.value for p in points], where="post", color="#2f7f86", label="found")
        axes.step(
            moves, [p.bound for p in points], where="post", color="#7f8c99", ls="--", label="bound"
        )
        best = knee(points)
        if best is not None:
            axes.plot([best.moves], [best.value], "o", color="#c9560d")
            axes.annotate(
                f"{best.moves} changes",
                (best.moves, best.value),
                (8, 8),
                textcoords="offset points",
            )
        if found.fresh is not None:
            axes.plot([found.fresh[1]], [found.fresh[0]], "x", color="#b3162b", label="fresh plan")
        axes.set_xlabel("replicas that move, start or stop")
        axes.set_ylabel(f"max {found.problem.goal.quantity}")
        axes.set_ylim(bottom=0)
        axes.legend()
