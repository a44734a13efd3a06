"""What came of a check, for people, as JSON and as CSV."""

from collections.abc import Sequence
from typing import Protocol

from kvplace.report.tables.scores import rows_csv, rows_json
from kvplace.report.text import clean


class Difference(Protocol):
    """Something that a plan states and that is not so."""

    @property
    def path(self) -> str:
        """Where in the plan."""

    @property
    def message(self) -> str:
        """What it states and what is found."""


def checked_table(
    name: str,
    differences: Sequence[Difference],
    verified: Sequence[str],
    claimed: Sequence[str] = (),
) -> str:
    """Return one line per thing wrong, verified or only claimed, and a verdict.

    Parameters
    ----------
    name
        Of the plan's file.
    differences, verified, claimed
        What was found.
    """
    lines = [f"wrong     {d.path}: {d.message}" for d in differences]
    lines += [f"verified  {sentence}" for sentence in verified]
    lines += [f"claimed   {sentence}" for sentence in claimed]
    lines.append(f"{name}: {_verdict(len(differences), len(claimed))}")
    return "\n".join(clean(line) for line in lines)


def _verdict(wrong: int, claimed: int) -> str:
    """Return the last words: a plan of which something is only claimed does not just hold."""
    if wrong:
        return f"{wrong:,} {'disagreement' if wrong == 1 else 'disagreements'}"
    if claimed:
        what = "1 claim is" if claimed == 1 else f"{claimed:,} claims are"
        return f"the plan holds as far as it was verified; {what} not verified here"
    return "the plan holds"


def checked_json(
    differences: Sequence[Difference], verified: Sequence[str], claimed: Sequence[str] = ()
) -> str:
    """Return the check as a JSON object with `disagreements`, `verified` and `claimed`."""
    found = [{"path": d.path, "message": d.message} for d in differences]
    sentences = {"verified": list(verified), "claimed": list(claimed)}
    return rows_json({"disagreements": found, **sentences})


def checked_csv(
    differences: Sequence[Difference], verified: Sequence[str], claimed: Sequence[str] = ()
) -> str:
    """Return one row per finding: ``finding,path,message``."""
    rows = [{"finding": "wrong", "path": d.path, "message": d.message} for d in differences]
    rows += [{"finding": "verified", "path": "", "message": text} for text in verified]
    rows += [{"finding": "claimed", "path": "", "message": text} for text in claimed]
    return rows_csv(rows or [{"finding": "verified", "path": "", "message": "nothing stated"}])
