"""A plan in Markdown, for a pull request."""

import re

from kvplace.core.objective import Objective
from kvplace.core.result import Result, evaluated
from kvplace.report.answers.differences import change_in_words, counts, diff
from kvplace.report.heat import is_share, kvpr_text
from kvplace.report.notes import notes
from kvplace.report.page.data import page_values
from kvplace.report.text import clean, gpus_text
from kvplace.units import format_bytes

__all__ = ["markdown_summary"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#!|~&@$])")
_GPUS_SHOWN, _CHANGES_SHOWN = 10, 50


def markdown_summary(
    result: Result,
    baseline: Result | None = None,
    *,
    name: str = "",
    baseline_name: str = "",
) -> str:
    """Return the headline, the worst GPUs, and what changes against a baseline.

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
    on = f"{values['count'] - values['idle']:,} of {values['count']:,}"
    lines = [
        f"### Plan {_cell(name)}: worst GPU {at}{values['worst']}{pool}",
        "",
        f"**{claim['badge']}.** {claim['words']}",
        "",
        f"{values['models_count']:,} models in {values['replicas']:,} replicas on {on} GPUs.",
    ]
    told = notes(result.problem, evaluated(result))
    if told:
        lines += ["", *(f"- **{note.level}:** {_cell(note.text)}" for note in told)]
    if baseline is not None:
        lines += ["", *_changes(result, baseline, baseline_name)]
    lines += ["", "| GPU | pressure | GiB for KV | models |", "|---|---:|---:|---|"]
    gpus = sorted(evaluated(result).gpus, key=lambda gpu: (-gpu.pressure, not gpu.shards))
    for gpu in gpus[:_GPUS_SHOWN]:
        models = ", ".join(_cell(name) for name in dict.fromkeys(s.model for s in gpu.shards))
        kvpr = kvpr_text(gpu.pressure, occupancy=is_share(result))
        free = format_bytes(gpu.free_bytes).removesuffix(" GiB")
        lines.append(f"| {_cell(gpu.id)} | {kvpr} | {free} | {models or '*idle*'} |")
    if len(gpus) > _GPUS_SHOWN:
        lines += ["", f"and {len(gpus) - _GPUS_SHOWN:,} GPUs under less pressure"]
    return "\n".join(lines) + "\n"


def _changes(result: Result, baseline: Result, name: str) -> list[str]:
    """Return before and after, and the changes folded away."""
    found = diff(baseline, result)
    before = kvpr_text(found.before.value, occupancy=is_share(baseline), exact=True)
    after = kvpr_text(found.after.value, occupancy=is_share(result), exact=True)
    change = change_in_words(found.before.value, found.after.value)
    words = f" ({change})" if change else ""
    against = _cell(name)
    lines = [f"Against {against}: **{before} → {after}**{words}; {counts(found)}."]
    if not found.changes:
        return lines
    lines += ["", "<details><summary>Changes</summary>", "", "| | model | from | to |"]
    lines.append("|---|---|---|---|")
    lines += [
        f"| {one.kind} | {_cell(one.model)} | {_cell(gpus_text(one.source))} "
        f"| {_cell(gpus_text(one.target))} |"
        for one in found.changes[:_CHANGES_SHOWN]
    ]
    if len(found.changes) > _CHANGES_SHOWN:
        lines.append(f"| | and {len(found.changes) - _CHANGES_SHOWN:,} more | | |")
    return [*lines, "", "</details>"]


def _cell(text: str) -> str:
    """Return a text that stays in its cell and means nothing in Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", clean(text)).replace("\\<", "&lt;").replace("\\>", "&gt;")
