"""What every rule is: whom it concerns, whether it holds, and by how much it does not."""

import abc
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING, ClassVar

from kvplace.core.hardware import GPU, Fleet
from kvplace.core.placement import Replica

if TYPE_CHECKING:
    from kvplace.core.problem import Problem

__all__ = ["EVERYWHERE", "Breach", "Places", "Rule", "chosen", "copies_by_model", "usable"]


@dataclass(frozen=True, slots=True)
class Places:
    """Some GPUs of a fleet: those named, those of nodes named, and those of nodes so labelled.

    Parameters
    ----------
    gpus, nodes
        Ids and names.
    labels
        Pairs of label and value, all of which a node must have.
    """

    gpus: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def __contains__(self, at: tuple[Fleet, str]) -> bool:
        fleet, gpu_id = at
        if gpu_id in self.gpus:
            return True
        node = fleet.node_of(gpu_id)
        if node is None:
            return False
        labelled = bool(self.labels) and all(node.labels.get(k) == v for k, v in self.labels)
        return labelled or node.name in self.nodes

    def of(self, fleet: Fleet) -> frozenset[str]:
        """Return the ids of those that the fleet has."""
        found = {gpu for gpu in self.gpus if fleet.gpu(gpu) is not None}
        named = set(self.nodes)
        for node in fleet.nodes:
            labelled = self.labels and all(node.labels.get(k) == v for k, v in self.labels)
            if labelled or node.name in named:
                found.update(gpu.id for gpu in node.gpus)
        return frozenset(found)

    def unknown(self, fleet: Fleet) -> Iterator[str]:
        """Yield a sentence for each name that the fleet does not have."""
        nodes = {node.name for node in fleet.nodes}
        yield from (f"there is no GPU {gpu!r}" for gpu in self.gpus if fleet.gpu(gpu) is None)
        yield from (f"there is no node {node!r}" for node in self.nodes if node not in nodes)
        wanted = dict(self.labels)
        if wanted and not any(wanted.items() <= dict(n.labels).items() for n in fleet.nodes):
            yield f"no node has the labels {_pairs(self.labels)}"

    def __str__(self) -> str:
        parts = [*self.gpus, *(f"node {node}" for node in self.nodes)]
        if self.labels:
            parts.append(f"nodes with {_pairs(self.labels)}")
        return " or ".join(parts) if parts else "everywhere"


EVERYWHERE = Places()
"""No GPUs named, which stands for all of them where a rule may leave its places out."""


@dataclass(frozen=True, slots=True)
class Breach:
    """One place where a rule does not hold.

    Parameters
    ----------
    subject
        Name of the model, or the topology domain.
    message
        A sentence with the numbers.
    amount
        How far from holding, at least 1; its sum over all breaches is 0 where the rule holds.
    models
        Names of the models that it takes.
    """

    subject: str
    message: str
    amount: float
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule(abc.ABC):
    """A demand on where models are.

    Parameters
    ----------
    models
        Names of the models it concerns; ``*`` and ``?`` stand for any letters and any letter.
    soft
        None for a rule that must hold; else its tier, 1 being the weightiest: it is kept where
        a placement is found that keeps it, before the KVPR counts.
    """

    kind: ClassVar[str]

    models: tuple[str, ...] = ("*",)
    soft: int | None = None

    @abc.abstractmethod
    def breaches(self, problem: "Problem", copies: dict[str, list[Replica]]) -> Iterator[Breach]:
        """Yield where the rule does not hold.

        Parameters
        ----------
        problem
            What is placed on what.
        copies
            Replicas placed of each model that has any, all on GPUs of the fleet.
        """

    def faults(self, problem: "Problem") -> Iterator[str]:
        """Yield a sentence for each thing in the rule that the problem does not have."""
        for pattern in self.models:
            if pattern not in problem.index_of and not chosen((pattern,), problem.index_of):
                yield f"no model is named {pattern!r}"

    def concerned(self, names: Iterable[str]) -> list[str]:
        """Return the names of models that the rule concerns, in order."""
        return chosen(self.models, names)


def chosen(patterns: tuple[str, ...], names: Iterable[str]) -> list[str]:
    """Return the names that match one of some patterns, in order."""
    if "*" in patterns:
        return list(names)
    exact = {p for p in patterns if "*" not in p and "?" not in p}
    wild = [translate(p.replace("[", "[[]")) for p in patterns if p not in exact]
    if not wild:
        return [n for n in names if n in exact]
    match = re.compile("|".join(wild)).match
    return [n for n in names if n in exact or match(n)]


def copies_by_model(placement: Iterable[Replica]) -> dict[str, list[Replica]]:
    """Return the replicas of each model."""
    copies: dict[str, list[Replica]] = {}
    for replica in placement:
        held = copies.get(replica.model)
        if held is None:
            copies[replica.model] = [replica]
        else:
            held.append(replica)
    return copies


def usable(gpu: GPU, types: tuple[str, ...]) -> bool:
    """Whether a GPU is of one of some types, or none is asked for."""
    return not types or gpu.type in types


def _pairs(labels: tuple[tuple[str, str], ...]) -> str:
    return " and ".join(f"{key}={value}" for key, value in labels)
