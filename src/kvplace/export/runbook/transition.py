"""A proposal with the layouts on both sides: what runs, and what is to run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.launch import EngineName
from kvplace.core.placement import Placement, Replica
from kvplace.export.layout import Host, Layout, arrange
from kvplace.export.names import labels
from kvplace.export.naming import BASE_PORT, Named, name_engines
from kvplace.formats.proposal import Proposal, RunningPart


@dataclass(frozen=True, slots=True)
class Running:
    """An engine that runs, as far as a runbook needs to know it.

    Parameters
    ----------
    label, port
        What it is called and where it listens.
    node
        Name of its node.
    served_name
        What clients call it.
    part
        What the proposal says of it.
    """

    label: str
    port: int
    node: str
    served_name: str
    part: RunningPart


@dataclass(frozen=True, slots=True)
class Transition:
    """A proposal with the layouts on both sides.

    Parameters
    ----------
    proposal
        What was approved.
    target
        What is to run in the end.
    running
        What runs, by replica; only what is on GPUs that there are.
    hosts
        Every node with its label, by name; with the engines of the target where it has any.
    before
        What runs as engines that can be started again; those of models that nothing is known of
        are not among them.
    """

    proposal: Proposal
    target: Layout
    running: Mapping[Replica, Running]
    hosts: Mapping[str, Host]
    before: Layout


def transition_of(proposal: Proposal, target: Layout) -> Transition:
    """Put a proposal and the layout of its plan together."""
    problem = target.problem
    parts = {
        Replica(part.model, part.index, part.gpus): part
        for part in proposal.current
        if all(map(problem.fleet.gpu, part.gpus))
    }
    shift = target.base_port - BASE_PORT
    kept = {
        (r.model, r.index): EngineName(part.label, part.port)
        for r, part in parts.items()
        if part.label and part.port
    }
    taken = {*problem.index_of, *(replica.model for replica in parts)}
    named = name_engines(problem.fleet, parts, taken, target.base_port, kept)
    running = {}
    for replica, part in parts.items():
        name = named[replica.model, replica.index]
        node = problem.fleet.domain(replica.gpus[0], "node") or ""
        port = part.port + shift if part.port else name.engine.port
        running[replica] = Running(name.engine.label, port, node, name.served, part)
    node_labels = labels(node.name for node in problem.fleet.nodes)
    empty = {n.name: Host(node_labels[n.name], n, ()) for n in problem.fleet.nodes}
    hosts = empty | {host.node.name: host for host in target.hosts}
    return Transition(proposal, target, running, hosts, _before(proposal, target, running))


def _before(proposal: Proposal, target: Layout, running: Mapping[Replica, Running]) -> Layout:
    """Return what ran as a layout, as far as its models are known; it need not be valid."""
    problem = target.problem
    former = [part.build() for part in proposal.former if part.name not in problem.index_of]
    if former:
        problem = replace(problem, models=(*problem.models, *former))
    here = {r: one for r, one in running.items() if r.model in problem.index_of}
    evaluation = evaluate(problem, Placement(tuple(here)))
    parts = {(r.model, r.index): one.part.kv_bytes for r, one in here.items()}
    named = {
        (r.model, r.index): Named(one.served_name, EngineName(one.label, one.port))
        for r, one in here.items()
    }
    return Layout(problem, arrange(problem, evaluation, list(here), parts, named))
