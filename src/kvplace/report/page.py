"""One self-contained page about a plan: no network, no figure that was not computed again."""

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from kvplace._version import __version__
from kvplace.errors import MissingExtraError
from kvplace.report.differences import Differences, change_in_words, counts, next_difference
from kvplace.report.page_charts import convergence_chart, profile_chart
from kvplace.report.page_data import Subject, kvpr_text, page_values, pressure_class
from kvplace.report.text import clean, gpus_text
from kvplace.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["page"]


def page(
    subject: Subject, baseline: Subject | None = None, found: Differences | None = None
) -> str:
    """Return the HTML of a page about a plan.

    Parameters
    ----------
    subject
        The plan.
    baseline
        The plan before it; None without one.
    found
        What turns the baseline into the plan; given with a baseline.

    Raises
    ------
    MissingExtraError
        Jinja2 is not installed.
    """
    template = _template()
    values = page_values(subject)
    claim = subject.claim
    bound = claim.bound if claim and 0 < claim.bound < float("inf") else None
    before = list(baseline.evaluation.profile()) if baseline else None
    comparable = baseline is not None and baseline.problem.goal is subject.problem.goal
    occupancy = subject.occupancy
    title = _count(values["models_count"], "model") + " on " + _count(values["count"], "GPU")
    return template.render(
        version=__version__,
        title=f"Plan {clean(subject.name)}: {title}" if subject.name else f"Plan: {title}",
        css=_text("page.css"),
        js=_text("page.js"),
        p=values,
        hero_class=pressure_class(values["value"], values["value"], occupancy=occupancy),
        chart=profile_chart(
            values["profile"], bound, before if comparable else None, occupancy=occupancy
        ),
        steps=(
            convergence_chart(claim.steps, occupancy=occupancy, seconds=claim.seconds)
            if claim
            else None
        ),
        change=_change(subject, baseline, found) if baseline and found else None,
        digest=subject.problem.digest[:19],
        data={
            "models": [
                [
                    m["name"],
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


def _change(subject: Subject, baseline: Subject, found: Differences) -> dict[str, Any]:
    """Return what the page says of before and after."""
    notes = []
    if not found.same_problem:
        now = found.before_now
        worth = (
            kvpr_text(now.value, occupancy=subject.occupancy, exact=True) if now else "not valid"
        )
        notes.append(
            "The two plans are for different models, demand or GPUs. For what the second one "
            f"serves, the first is {worth}."
        )
    elif found.before.value == found.after.value:
        further = next_difference(found.before, found.after)
        if further:
            notes.append(f"The worst GPU is the same; KVPR of GPU {further}.")
    return {
        "name": clean(baseline.name),
        "before": kvpr_text(found.before.value, occupancy=baseline.occupancy, exact=True),
        "words": change_in_words(found.before.value, found.after.value),
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


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@cache
def _template() -> "Template":
    """Return the template; everything put into it is escaped."""
    try:
        import jinja2  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise MissingExtraError(
            "a report needs the extra 'report': pip install 'kvplace[report]'"
        ) from error
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["n"] = lambda number: f"{number:,}"
    environment.filters["gib"] = lambda number: f"{number:,.1f} GiB"
    environment.filters["seconds"] = format_seconds
    return environment.from_string(str(_file("page.html.j2")))


def _text(name: str) -> Any:
    """Return a style sheet or script of ours, which is not to be escaped."""
    from markupsafe import Markup  # noqa: PLC0415 - comes with the extra

    return Markup(_file(name))  # noqa: S704 - our own file, nothing of a user's


@cache
def _file(name: str) -> str:
    return files("kvplace.report").joinpath("templates", name).read_text("utf-8")
