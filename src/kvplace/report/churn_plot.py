"""The highest pressure over time under several ways of re-planning, drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kvplace.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from kvplace.replan.backtest import Track

__all__ = ["draw_churn"]

_SUFFIXES = (".svg", ".png", ".pdf")


def draw_churn(tracks: "Sequence[Track]", target: float, path: str) -> None:
    """Draw what became of ways of re-planning into a file.

    Parameters
    ----------
    tracks
        At least one.
    target
        Pressure that is marked.
    path
        A ``.svg``, ``.png`` or ``.pdf`` file.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    InputError
        The suffix is none of the three, or the file cannot be written.
    """
    if not path.lower().endswith(_SUFFIXES):
        raise InputError(f"a plot ends in {', '.join(_SUFFIXES)}", path)
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an optional extra
        from matplotlib.figure import Figure  # noqa: PLC0415 - as above
    except ImportError as error:
        raise MissingExtraError(
            "a plot needs the extra 'plots': pip install 'kvplace[plots]'"
        ) from error
    settings: Any = {"svg.hashsalt": "kvplace", "svg.fonttype": "path"}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(10.0, 4.5), layout="constrained")
        axes: Any = figure.add_subplot()
        for track in tracks:
            hours = [at * track.step_seconds / 3600 for at in range(len(track.values))]
            label = f"{track.way}: {sum(track.moves):,} changes"
            axes.step(hours, track.values, where="post", lw=1.0, label=label)
        axes.axhline(target, color="#7f8c99", ls=":", lw=1.0)
        axes.set_xlabel("hours")
        axes.set_ylabel("highest pressure")
        axes.set_ylim(bottom=0)
        axes.legend()
        try:
            figure.savefig(path, metadata={"Date": None} if path.lower().endswith("svg") else None)
        except OSError as error:
            raise InputError(f"this file cannot be written: {error.strerror}", path) from None
