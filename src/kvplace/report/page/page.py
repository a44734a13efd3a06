"""One self-contained page about a plan: no network, no figure that was not computed again."""

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from kvplace._version import __version__
from kvplace.core.result import Result
from kvplace.extras import missing_extra
from kvplace.report.answers.differences import Differences, counts, diff, next_difference
from kvplace.report.heat import is_share, kvpr_text, pressure_class
from kvplace.report.page.by_window import by_window
from kvplace.report.page.charts import convergence_chart, profile_chart
from kvplace.report.page.data import page_values
from kvplace.report.page.serves import serves
from kvplace.report.text import clean, gpus_text
from kvplace.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from jinja2 import Template


def page(
    result: Result,
    baseline: Result | None = None,
    *,
    name: str = "",
    baseline_name: str = "",
) -> str:
    """Return the HTML of a page about a plan.

    Parameters
    ----------
    result
        The plan.
    baseline
        The plan before it; None without one.
    name, baseline_name
        What to call them, such as their files.

    Raises
    ------
    InputError
        A result has no placement.
    MissingExtraError
        Jinja2 is not installed.
    """
    template = _template()
    values = page_values(result)
    bound = result.bound if result.solver and 0 < result.bound < float("inf") else None
    found = diff(baseline, result) if baseline else None
    before = found.before_compared if found else None
    occupancy = is_share(result)
    gpus = format_count(values["count"], "GPU")
    title = f"{format_count(values['models_count'], 'model')} on {gpus}"
    return template.render(
        version=__version__,
        title=f"Plan {clean(name)}: {title}" if name else f"Plan: {title}",
        css=_text("page.css"),
        js=_text("page.js"),
        p=values,
        hero_class=pressure_class(values["value"], values["value"], occupancy=occupancy),
        chart=profile_chart(
            values["profile"],
            bound,
            list(before.profile()) if before else None,
            occupancy=occupancy,
            gpus=values["bars"],
        ),
        steps=(
            convergence_chart(result.progress, occupancy=occupancy, seconds=result.seconds)
            if result.solver
            else None
        ),
        change=_change(result, baseline, found, baseline_name) if baseline and found else None,
        hours=by_window(result),
        digest=result.problem.digest[:19],
        serves=serves(result),
        data={
            "models": [
                [
                    m["name"],
                    f"{m['replicas']:,}",
                    f"TP {m['degree']}" if m["degree"] > 1 else "",
                    ", ".join(m["gpus"]),
                    m["weights"],
                    m["rate"],
                    m["part"],
                    m["worst"],
                    m["ids"],
                ]
                for m in values["models"]
            ]
        },
    )


def _change(result: Result, baseline: Result, found: Differences, name: str) -> dict[str, Any]:
    """Return what the page says of before and after."""
    notes = []
    if not found.same_problem:
        now = found.before_now
        worth = kvpr_text(now.value, occupancy=is_share(result), exact=True) if now else "not valid"
        notes.append(
            f"The two plans are {found.apart}. For what the second one serves, the first is "
            f"{worth}."
        )
    elif found.before.value == found.after.value:
        further = next_difference(found.before, found.after)
        if further:
            notes.append(f"The worst GPU is the same; KVPR of GPU {further}.")
    return {
        "name": clean(name),
        "before": kvpr_text(found.before.value, occupancy=is_share(baseline), exact=True),
        "words": found.change,
        "counts": counts(found),
        "notes": notes,
        "rows": [
            {
                "kind": change.kind,
                "model": clean(change.model),
                "source": clean(gpus_text(change.source)),
                "target": clean(gpus_text(change.target)),
                "weights": format_bytes(found.weights_bytes.get(change.model, 0)),
            }
            for change in found.changes
        ],
    }


@cache
def _template() -> "Template":
    """Return the template; everything put into it is escaped."""
    try:
        import jinja2  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise missing_extra("a page", "report") from error
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, finalize=_unbroken
    )
    environment.filters["n"] = lambda number: f"{number:,}"
    environment.filters["gib"] = lambda number: f"{number:,.1f} GiB"
    environment.filters["seconds"] = format_seconds
    return environment.from_string(str(_file("page.html.j2")))


def _unbroken(value: object) -> object:
    """Return what a template prints, no number on another line than its percent sign."""
    return re.sub(r"(?<=\d) %", "\u00a0%", value) if type(value) is str else value


def _text(name: str) -> Any:
    """Return a style sheet or script of ours, which is not to be escaped."""
    from markupsafe import Markup  # noqa: PLC0415 - comes with the extra

    return Markup(_file(name))  # noqa: S704 - our own file, nothing of a user's


@cache
def _file(name: str) -> str:
    return files("kvplace.report.page").joinpath("templates", name).read_text("utf-8")
