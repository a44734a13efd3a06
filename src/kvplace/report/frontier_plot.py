"""What every budget buys, drawn: pressure and its bound over the number of changes."""

from typing import TYPE_CHECKING, Any

from kvplace.errors import InputError, MissingExtraError
from kvplace.report.replanned import knee

if TYPE_CHECKING:
    from kvplace.replan.replan import Replan

__all__ = ["draw_frontier"]

_SUFFIXES = (".svg", ".png", ".pdf")


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
    if not path.lower().endswith(_SUFFIXES):
        raise InputError(f"a plot ends in {', '.join(_SUFFIXES)}", path)
    if not found.frontier:
        raise InputError("there is nothing to draw: no placement was found at any budget", path)
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an optional extra
        from matplotlib.figure import Figure  # noqa: PLC0415 - as above
    except ImportError as error:
        raise MissingExtraError(
            "a plot needs the extra 'plots': pip install 'kvplace[plots]'"
        ) from error
    settings: Any = {"svg.hashsalt": "kvplace", "svg.fonttype": "path"}
    points = found.frontier
    with mpl.rc_context(settings):
        figure = Figure(figsize=(8.0, 4.5), layout="constrained")
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
        axes.set_ylabel("max KVPR")
        axes.set_ylim(bottom=0)
        axes.legend()
        try:
            figure.savefig(path, metadata={"Date": None} if path.lower().endswith("svg") else None)
        except OSError as error:
            raise InputError(f"this file cannot be written: {error.strerror}", path) from None
