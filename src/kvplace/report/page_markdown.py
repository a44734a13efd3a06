"""A plan in Markdown, for a pull request."""

import re

from kvplace.report.differences import Differences, change_in_words, counts
from kvplace.report.page_data import Subject, kvpr_text, page_values
from kvplace.report.text import clean, gpus_text
from kvplace.units import format_bytes

__all__ = ["markdown_summary"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#!|~&@$])")
_GPUS_SHOWN, _CHANGES_SHOWN = 10, 50


def markdown_summary(
    subject: Subject, baseline: Subject | None = None, found: Differences | None = None
) -> str:
    """Return the headline, the worst GPUs, and what changes against a baseline.

    Parameters
    ----------
    subject, baseline, found
        As in `kvplace.report.page.page`.
    """
    values = page_values(subject)
    claim = values["claim"]
    pool = " of its KV pool in use" if subject.occupancy else ""
    on = f"{values['count'] - values['idle']:,} of {values['count']:,}"
    lines = [
        f"### Plan {_cell(subject.name)}: worst GPU {values['worst']}{pool}",
        "",
        f"**{claim['badge']}.** {claim['words']}",
        "",
        f"{values['models_count']:,} models in {values['replicas']:,} replicas on {on} GPUs.",
    ]
    if baseline is not None and found is not None:
        lines += ["", *_changes(subject, baseline, found)]
    lines += ["", "| GPU | pressure | GiB for KV | models |", "|---|---:|---:|---|"]
    gpus = sorted(subject.evaluation.gpus, key=lambda gpu: (-gpu.pressure, not gpu.shards))
    for gpu in gpus[:_GPUS_SHOWN]:
        models = ", ".join(_cell(name) for name in dict.fromkeys(s.model for s in gpu.shards))
        kvpr = kvpr_text(gpu.pressure, occupancy=subject.occupancy)
        free = format_bytes(gpu.free_bytes).removesuffix(" GiB")
        lines.append(f"| {_cell(gpu.id)} | {kvpr} | {free} | {models or '*idle*'} |")
    if len(gpus) > _GPUS_SHOWN:
        lines += ["", f"and {len(gpus) - _GPUS_SHOWN:,} GPUs under less pressure"]
    return "\n".join(lines) + "\n"


def _changes(subject: Subject, baseline: Subject, found: Differences) -> list[str]:
    """Return before and after, and the changes folded away."""
    before = kvpr_text(found.before.value, occupancy=baseline.occupancy, exact=True)
    after = kvpr_text(found.after.value, occupancy=subject.occupancy, exact=True)
    change = change_in_words(found.before.value, found.after.value)
    words = f" ({change})" if change else ""
    against = _cell(baseline.name)
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
