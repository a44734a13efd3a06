"""A plan for people: a page, a figure, or Markdown."""

from dataclasses import dataclass

from kvplace.core.result import Result, placed


@dataclass(frozen=True, slots=True)
class Report:
    """A plan to be shown, beside another one or alone.

    Parameters
    ----------
    result, baseline
        The plan, and the one before it; None without one.
    name, baseline_name
        What to call them, such as their files.
    """

    result: Result
    baseline: Result | None = None
    name: str = ""
    baseline_name: str = ""

    def html(self) -> str:
        """Return one self-contained page, which needs no network.

        Raises
        ------
        MissingExtraError
            Jinja2 is not installed.
        """
        from kvplace.report.page.page import page  # noqa: PLC0415 - an optional extra

        names = {"name": self.name, "baseline_name": self.baseline_name}
        return page(self.result, self.baseline, **names)

    def markdown(self) -> str:
        """Return a summary for a pull request."""
        from kvplace.report.page.markdown import markdown_summary  # noqa: PLC0415 - only if asked

        names = {"name": self.name, "baseline_name": self.baseline_name}
        return markdown_summary(self.result, self.baseline, **names)

    def draw(self, path: str) -> None:
        """Write the main figure as ``.svg``, ``.png`` or ``.pdf``.

        A baseline by another objective is drawn by the objective of the plan; where it has no such
        value, the figure says so.

        Raises
        ------
        InputError
            The file cannot be written.
        MissingExtraError
            Matplotlib is not installed.
        """
        from kvplace.report.answers.differences import diff  # noqa: PLC0415 - only if asked
        from kvplace.report.plots.figure import draw_plan  # noqa: PLC0415 - an optional extra

        before, note = None, ""
        if self.baseline is not None:
            before = diff(self.baseline, self.result).before_compared
            if before is None:
                note = "the plan before has no value by this objective here, and is not drawn"
        draw_plan(self.result, before, path, note)


def report(
    result: Result, baseline: Result | None = None, *, name: str = "", baseline_name: str = ""
) -> Report:
    """Return a plan to be shown, as `Report` says.

    Raises
    ------
    InputError
        A result has no placement.
    """
    for one in (result, baseline):
        if one is not None:
            placed(one)
    return Report(result, baseline, name, baseline_name)
