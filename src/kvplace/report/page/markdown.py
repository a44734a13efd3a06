"""A plan in Markdown, for a pull request."""

import re

from kvplace.core.models.objective import Objective
from kvplace.core.result import Result, evaluated
from kvplace.report.answers.differences import counts, diff
from kvplace.report.heat import is_share, kvpr_text
from kvplace.report.notes import notes
from kvplace.report.page.data import page_values
from kvplace.report.tables.gpus import idle_text
from kvplace.report.tables.models import model_rows
from kvplace.report.text import clean, copies_text, gpus_text, shorten
from kvplace.units import format_bytes, format_count

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#!|~&@$])")
_GPUS_SHOWN, _MODELS_SHOWN, _CHANGES_SHOWN = 10, 50, 50
_IDLE_WIDTH = 200


def markdown_summary(
    result: Result,
    baseline: Result | None = None,
    *,
    name: str = "",
    baseline_name: str = "",
) -> str:
    """Return the headline, the models, the worst GPUs, and what changes against a baseline.

    Parameters
    ----------
    result, baseline, name, baseline_name
        As in `kvplace.report.page.page.page`.
    """
    values = page_values(result)
    claim = values["claim"]
    several = result.problem.goal is Objective.PRESSURE
    at = "at a pressure of " if several else ""
    pool = " of its KV pool in use" if is_share(result) and not several else ""
    on = f"{values['count'] - values['idle']:,} of {format_count(values['count'], 'GPU')}"
    placed = [format_count(values["models_count"], "model")]
    if values["replicas"] != values["models_count"]:
        placed.append(format_count(values["replicas"], "replica"))
    lines = [
        f"### {f'Plan {_cell(name)}' if name else 'Plan'}: worst GPU {at}{values['worst']}{pool}",
        "",
        f"**{claim['badge']}.** {claim['words']}",
        "",
        f"{' in '.join(placed)} on {on}.",
    ]
    told = notes(result.problem, evaluated(result))
    if told:
        lines += ["", *(f"- **{note.level}:** {_cell(note.text)}" for note in told)]
    if baseline is not None:
        changes = differences_markdown(baseline, result, baseline_name, folded=True)
        lines += ["", changes.rstrip()]
    lines += ["", *_models(result)]
    lines += ["", "| GPU | pressure | GiB for KV | models |", "|---|---:|---:|---|"]
    gpus = sorted(evaluated(result).gpus, key=lambda gpu: -gpu.pressure)
    busy = [gpu for gpu in gpus if gpu.shards]
    for gpu in busy[:_GPUS_SHOWN]:
        models = ", ".join(_cell(name) for name in dict.fromkeys(s.model for s in gpu.shards))
        kvpr = kvpr_text(gpu.pressure, occupancy=is_share(result))
        free = format_bytes(gpu.free_bytes).removesuffix(" GiB")
        lines.append(f"| {_cell(gpu.id)} | {kvpr} | {free} | {models} |")
    if len(busy) > _GPUS_SHOWN:
        lines += ["", f"and {len(busy) - _GPUS_SHOWN:,} GPUs under less pressure"]
    idle = [gpu.id for gpu in gpus if not gpu.shards]
    if idle:
        where = idle_text(idle, result.problem.fleet.nodes)
        lines += ["", _cell(shorten(where, _IDLE_WIDTH))]
    return "\n".join(lines) + "\n"


def _models(result: Result) -> list[str]:
    """Return the table of models, those on the most loaded GPUs first."""
    assert result.placement is not None
    rows, count = model_rows(result, _MODELS_SHOWN), len(set(result.placement.column("model")))
    lines = ["| model | replicas | pressure | on |", "|---|---|---:|---|"]
    for row in rows:
        copies = f"{row.replicas:,}" + (f" x TP {row.degree}" if row.degree > 1 else "")
        kvpr = kvpr_text(row.pressure, occupancy=is_share(result))
        places = _cell(", ".join(copies_text(row.gpus)))
        lines.append(f"| {_cell(row.model)} | {copies} | {kvpr} | {places} |")
    if count > len(rows):
        lines += ["", f"and {count - len(rows):,} models under less pressure"]
    return lines


def differences_markdown(
    before: Result, after: Result, name: str = "", *, folded: bool = False
) -> str:
    """Return what two plans are worth, and what turns one into the other.

    Parameters
    ----------
    before, after
        The plans.
    name
        What to call the earlier one; empty for no name.
    folded
        Whether the changes are folded away.
    """
    found = diff(before, after)
    was = kvpr_text(found.before.value, occupancy=is_share(before), exact=True)
    now = kvpr_text(found.after.value, occupancy=is_share(after), exact=True)
    words = f" ({found.change})" if found.change else f" ({found.apart})" if found.apart else ""
    against = f"Against {_cell(name)}: " if name else ""
    lines = [f"{against}**{was} → {now}**{words}; {counts(found)}."]
    if not found.changes:
        return lines[0] + "\n"
    if folded:
        lines += ["", "<details><summary>Changes</summary>"]
    lines += ["", "| | model | from | to |", "|---|---|---|---|"]
    lines += [
        f"| {one.kind} | {_cell(one.model)} | {_cell(gpus_text(one.source))} "
        f"| {_cell(gpus_text(one.target))} |"
        for one in found.changes[:_CHANGES_SHOWN]
    ]
    if len(found.changes) > _CHANGES_SHOWN:
        lines.append(f"| | and {len(found.changes) - _CHANGES_SHOWN:,} more | | |")
    return "\n".join([*lines, *(["", "</details>"] if folded else [])]) + "\n"


def _cell(text: str) -> str:
    """Return a text that stays in its cell and means nothing in Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", clean(text)).replace("\\<", "&lt;").replace("\\>", "&gt;")
