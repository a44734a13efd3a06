"""A figure that becomes a file: the optional library, the kinds of file, the same bytes again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, filterwarnings

from kvplace.errors import InputError
from kvplace.extras import missing_extra
from kvplace.report.text import shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SUFFIXES = (".png", ".svg", ".pdf")
_LONGEST = 48


@contextmanager
def canvas(
    path: str,
    width: float,
    height: float,
    *,
    dpi: int = 110,
    what: str = "a plot",
    outlines: bool = False,
) -> Iterator["Figure"]:
    """Give a figure to draw on, and write it where the block ends well.

    Parameters
    ----------
    path
        A ``.png``, ``.svg`` or ``.pdf`` file.
    width, height
        In inches.
    dpi
        Dots per inch of a ``.png``.
    what
        What messages call it.
    outlines
        Whether letters of an ``.svg`` are drawn as shapes, which look alike on every machine, and
        not written as text.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    InputError
        The suffix is none of the three, or the file cannot be written.
    """
    if not path.lower().endswith(_SUFFIXES):
        raise InputError(f"{what} ends in {', '.join(_SUFFIXES)}", path)
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an optional extra
        from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise missing_extra(what, "plots") from error
    # Names are no formulas, and neither a date nor random names go into the file.
    letters = "path" if outlines else "none"
    settings: Any = {"text.parse_math": False, "svg.hashsalt": "kvplace", "svg.fonttype": letters}
    metadata = {"Date": None} if path.lower().endswith(".svg") else None
    with mpl.rc_context(settings), catch_warnings():
        filterwarnings("ignore", message="Glyph .* missing from font")  # it is drawn as a box
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        try:
            figure.savefig(path, dpi=dpi, metadata=metadata)
        except OSError as error:
            raise InputError(f"it cannot be written: {error.strerror}", path) from error


def legend_text(name: str) -> str:
    """Return a name for a legend: printable, not too long, and never hidden.

    Matplotlib leaves labels out that begin with an underscore.
    """
    text = shorten(name, _LONGEST)
    return f" {text}" if text.startswith("_") else text
