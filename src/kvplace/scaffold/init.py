"""A commented fleet file from models, hosts, demand and a deployment: what ``init`` decides."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kvplace._version import __version__
from kvplace.demand.summary import DemandSummary
from kvplace.demand.windows import DemandWindows
from kvplace.errors import InputError
from kvplace.files import read_text
from kvplace.formats.fleet.schema import FLEET_SCHEMA
from kvplace.scaffold.deployments.deployment import Deployment, Unread
from kvplace.scaffold.deployments.read import read_deployment
from kvplace.scaffold.editor import editor_line
from kvplace.scaffold.fleet_text import fleet_text
from kvplace.scaffold.hosts import gather_nodes
from kvplace.scaffold.models import Wishes, gather_models
from kvplace.scaffold.running import held_gpus, running_table


@dataclass(frozen=True, slots=True)
class Draft:
    """A fleet file to be edited.

    Parameters
    ----------
    text
        The file, ``kvplace.fleet/v1``; every number has its origin beside it.
    running
        The placement that runs now, as the CSV of a plan; empty unless it was asked for.
    notes
        What the user should know.
    unread
        Services of the deployment that hold GPUs and could not be read.
    reserved
        Ids of GPUs that the file reserves for them.
    """

    text: str
    running: str
    notes: tuple[str, ...]
    unread: tuple[Unread, ...]
    reserved: tuple[str, ...]


def init(
    nodes: str,
    models: Sequence[str] = (),
    *,
    demand: DemandSummary | None = None,
    windows: DemandWindows | None = None,
    deployment: str | os.PathLike[str] | None = None,
    wishes: Wishes | None = None,
    keep_unknown: bool = False,
    running: bool = False,
) -> Draft:
    """Draft a fleet file.

    Parameters
    ----------
    nodes
        Hosts x GPUs x type, such as ``4x8xH100,2x4x80GiB``.
    models
        Checkpoint directories or hub ids; where there is none, those of the deployment, or of the
        demand.
    demand
        What is asked of them, such as `kvplace.demand` returns; None makes every model a standby.
    windows
        What is asked of them in each window, such as `kvplace.demand.windows.choose_windows`
        returns; it takes the place of the rates of `demand`.
    deployment
        File of what runs now, whose degrees and numbers of copies are kept.
    wishes
        Objectives and choices; None for the defaults.
    keep_unknown
        Reserve the GPUs of services that could not be read.
    running
        Also return the placement that runs now; it needs a deployment.

    Raises
    ------
    InputError
        Nothing names a model, a figure of one cannot be known, or a file cannot be read.
    """
    groups = gather_nodes(nodes)
    source = None if deployment is None else os.fspath(deployment)
    aliases = wishes.aliases if wishes else {}
    found = None if source is None else read_deployment(read_text(source), source, aliases)
    names = [models] if isinstance(models, str) else list(models)
    names = names or list(found.models if found else ())
    if not names and demand is None:
        raise InputError("which models? Name them, their demand, or a deployment that serves them")
    wishes, told = _as_served(wishes or Wishes(), found, demand)
    gathered = gather_models(
        names, groups, demand, wishes, found, windows, keep_unknown=keep_unknown
    )
    unread = [*(found.unread if found else ()), *gathered.unread]
    kept = held_gpus(found, unread, groups) if found is not None and keep_unknown else []
    kept_for = [f"in use by {entry.describe()}" for entry in unread]
    weights = [(window.name, window.weight) for window in windows.windows] if windows else []
    head = _head(demand, source, windows)
    text = fleet_text(groups, gathered.models, head, kept, kept_for, weights)
    table = ""
    if running and found is not None:
        named = dict(zip(gathered.names, (m.name for m in gathered.models), strict=True))
        table = running_table(found, groups, named)
    notes = [
        *told,
        *(found.notes if found else ()),
        *(demand.notes if demand else ()),
        *gathered.notes,
    ]
    return Draft(text, table, tuple(notes), tuple(unread), tuple(kept))


def _as_served(
    wishes: Wishes, deployment: Deployment | None, demand: DemandSummary | None
) -> tuple[Wishes, list[str]]:
    """Return the wishes with the names under which the deployment serves its models, and notes."""
    if deployment is None or demand is None:
        return wishes, []
    asked = {model.model for model in demand.models}
    taken = {*wishes.aliases, *deployment.models}
    aliases: dict[str, str] = {}
    for instance in deployment.instances:
        for label in instance.labels:
            if label in asked - taken and instance.model not in wishes.aliases.values():
                aliases[label] = instance.model
    notes = [
        f"{label} in the demand is {model}, as it is served" for label, model in aliases.items()
    ]
    return replace(wishes, aliases={**aliases, **wishes.aliases}), notes


def _head(
    demand: DemandSummary | None, existing: str | None, windows: DemandWindows | None
) -> list[str]:
    """Return the comments at the top of the file."""
    editor = editor_line(FLEET_SCHEMA)
    lines = [editor] if editor else []
    lines.append(f"Written by kvplace init {__version__}; edit it, then: kvplace plan FILE")
    if existing:
        lines.append(f"Models and copies: what {existing} runs.")
    if demand is None:
        lines.append("No demand was given: every model is a standby until you put in its rate.")
    else:
        together = f"{demand.joint.quantile_of_sum:.4g} requests/s"
        share = f"{100 * demand.joint.share:.0f} %"
        lines += [
            f"Demand: {100 * demand.quantile:g} % quantile of windows, {demand.origin}.",
            f"All models together: {together} at that quantile, {share} of the sum of their own.",
            *demand.notes,
        ]
    if windows is not None:
        lost = f"{100 * windows.loss.mean:.1f} % of the peaks of groups of models"
        lines.append(f"{len(windows.windows)} of {windows.of} windows, which overlook {lost}.")
    return lines
