"""What came of a check, for people, as JSON and as CSV."""

from collections.abc import Sequence
from typing import Protocol

from kvplace.report.scores import rows_csv, rows_json
from kvplace.report.text import clean

__all__ = ["checked_csv", "checked_json", "checked_table"]


class Difference(Protocol):
    """Something that a plan states and that is not so."""

    @property
    def path(self) -> str:
        """Where in the plan."""

    @property
    def message(self) -> str:
        """What it states and what is found."""


def checked_table(name: str, differences: Sequence[Difference], verified: Sequence[str]) -> str:
    """Return one line per disagreement and per thing verified, and a verdict.

    Parameters
    ----------
    name
        Of the plan's file.
    differences, verified
        What was found.
    """
    lines = [f"wrong     {d.path}: {d.message}" for d in differences]
    lines += [f"verified  {sentence}" for sentence in verified]
    count = len(differences)
    noun = "disagreement" if count == 1 else "disagreements"
    lines.append(f"{name}: {f'{count:,} {noun}' if count else 'the plan holds'}")
    return "\n".join(clean(line) for line in lines)


def checked_json(differences: Sequence[Difference], verified: Sequence[str]) -> str:
    """Return the check as a JSON object with `disagreements` and `verified`."""
    found = [{"path": d.path, "message": d.message} for d in differences]
    return rows_json({"disagreements": found, "verified": list(verified)})


def checked_csv(differences: Sequence[Difference], verified: Sequence[str]) -> str:
    """Return one row per finding: ``finding,path,message``."""
    rows = [{"finding": "wrong", "path": d.path, "message": d.message} for d in differences]
    rows += [{"finding": "verified", "path": "", "message": text} for text in verified]
    return rows_csv(rows or [{"finding": "verified", "path": "", "message": "nothing stated"}])
