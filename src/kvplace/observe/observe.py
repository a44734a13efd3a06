"""What runs now, asked of runtimes and read from files, as one observation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from kvplace.checking.load import load_stated
from kvplace.core.result import Result, placed
from kvplace.errors import InputError
from kvplace.export.layout import lay_out
from kvplace.export.runbook.transition import transition_of
from kvplace.formats.observation import OBSERVATION_SCHEMA, EnginePart, Observation
from kvplace.formats.proposal import Proposal, target_of
from kvplace.observe.answers import Asker
from kvplace.observe.sighting import Known, Sighting, identify
from kvplace.observe.sources import SOURCES, read_source


def observe(
    sources: str | Iterable[str],
    *,
    plan: Result | Proposal | None = None,
    placed_at: Mapping[str, Sequence[str]] | None = None,
    token: str = "",
) -> Observation:
    """Read what runs from runtimes. Nothing is changed.

    Parameters
    ----------
    sources
        One or several ``RUNTIME=PLACE``, such as ``vllm=http://h100-0:8000``: an address that is
        asked (vllm, sglang, kvcached, aibrix, ray-serve, llama-swap, prometheus), or a file
        (kubernetes, compose).
    plan
        The plan that is thought to run: its exports say which engine is on which GPUs. Of a
        proposal, those of what ran before and of what it leads to.
    placed_at
        GPUs of the engine at an address, in rank order.
    token
        Bearer token that is shown to whoever is asked.

    Returns
    -------
    Observation
        Its notes say what was not understood, and what did not answer.

    Raises
    ------
    InputError
        A source is none, an address is none, or a file is not what it should be.
    MissingExtraError
        ``httpx`` is not installed.

    Examples
    --------
    >>> kvplace.observe("compose=compose.yaml").engines  # doctest: +SKIP
    """
    asker = Asker(token)
    seen: list[Sighting] = []
    notes: list[str] = []
    for text in [sources] if isinstance(sources, str) else sources:
        runtime, _, place = text.partition("=")
        if runtime not in SOURCES or not place:
            raise InputError(f"{text!r} is no RUNTIME=PLACE; runtimes are {', '.join(SOURCES)}")
        found = read_source(runtime, place, asker)
        seen += found.engines
        notes += found.notes
    at = {address.rstrip("/"): tuple(gpus) for address, gpus in (placed_at or {}).items()}
    engines = []
    for one, model in identify(seen, _known(plan), at):
        if one.stray and not one.gpus:
            notes.append(f"{one.address}: {one.name!r} runs and is not in it: it is not looked at")
            continue
        engines.append(
            EnginePart(
                model=model,
                gpus=one.gpus,
                state=one.state,
                runtime=one.runtime,
                address=one.address,
                since=one.since,
            )
        )
    return Observation(
        schema=OBSERVATION_SCHEMA,
        observed=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        engines=tuple(engines),
        notes=tuple(notes),
    )


def _known(plan: Result | Proposal | None) -> list[Known]:
    """Return the engines of a plan, or of both sides of a proposal, as exports name them."""
    if plan is None:
        return []
    if isinstance(plan, Proposal):
        return _known_on_the_way(plan)
    layout = lay_out(plan.problem, placed(plan), kept=plan.kv_parts, names=plan.engine_names)
    return [
        Known(e.model.name, (e.served_name, e.label), e.port, e.gpus, host.label, e.kv_bytes)
        for host in layout.hosts
        for e in host.engines
    ]


def _known_on_the_way(proposal: Proposal) -> list[Known]:
    """Return the engines that ran when a proposal was made, and those that it leads to."""
    plan = load_stated(target_of(proposal), "proposal")
    known = _known(plan)
    target = lay_out(plan.problem, placed(plan), kept=plan.kv_parts, names=plan.engine_names)
    there = {(one.model, frozenset(one.gpus)) for one in known}
    transition = transition_of(proposal, target)
    for replica, one in transition.running.items():
        if (replica.model, frozenset(replica.gpus)) not in there:
            names, host = (one.served_name, one.label), transition.hosts[one.node].label
            part = one.part.kv_bytes
            known.append(Known(replica.model, names, one.port, replica.gpus, host, part))
    return known
