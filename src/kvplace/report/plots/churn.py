"""The highest pressure over time under several ways of re-planning, drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kvplace.report.plots.canvas import canvas

if TYPE_CHECKING:
    from kvplace.replan.history.backtest import Track


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
    with canvas(path, 10.0, 4.5) as figure:
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
