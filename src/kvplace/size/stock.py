"""What hosts could be had: kinds of node with their price, and fleets made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import Demand
from kvplace.core.models.model import Model
from kvplace.core.problem import Problem
from kvplace.core.rules.rule import Rule
from kvplace.errors import Fault, InputError
from kvplace.facts.catalogue.gpus import find_gpu_type, price_of

Mix = tuple[int, ...]
"""How many nodes of each kind."""


@dataclass(frozen=True, slots=True)
class Stock:
    """Hosts that a fleet can be made of.

    Parameters
    ----------
    problem
        What is to be served; its fleet is every node named in `kinds`.
    kinds
        For each kind the nodes to take first, in this order; further ones are like them, one
        after the other, so that zones and other labels fill up evenly.
    prices
        Of one node of each kind per hour, or its number of GPUs where nothing has a price.
    priced
        Whether prices are money.
    left_out
        Positions of rules that name GPUs, nodes or labels that the stock does not have.
    """

    problem: Problem
    kinds: tuple[tuple[Node, ...], ...]
    prices: tuple[float, ...]
    priced: bool
    left_out: tuple[int, ...]

    def cost(self, mix: Mix) -> float:
        """Return what a mix costs per hour, or how many GPUs it has."""
        return sum(number * price for number, price in zip(mix, self.prices, strict=True))

    def gpus(self, mix: Mix) -> int:
        """Return how many GPUs a mix has."""
        return sum(n * len(kind[0].gpus) for n, kind in zip(mix, self.kinds, strict=True))

    def grown(self, factor: float) -> "Stock":
        """Return the stock for every rate times a factor."""
        if factor == 1:
            return self
        models = tuple(_grown(model, factor) for model in self.problem.models)
        return replace(self, problem=replace(self.problem, models=models))

    def on(self, mix: Mix, *, relaxed: bool = False) -> Problem | None:
        """Return the problem on a mix of nodes.

        Parameters
        ----------
        mix
            Nodes of each kind, at least one in all.
        relaxed
            Leave out soft rules and spreads. One more node never hurts then, so what is
            impossible on a mix is impossible on every part of it.

        Returns
        -------
        Problem or None
            None where a model or a pin asks for a type, a label or a resource that no node of
            the mix has, so that no placement exists.
        """
        nodes = tuple(
            node for kind, n in zip(self.kinds, mix, strict=True) for node in _nodes(kind, n)
        )
        fleet = Fleet(nodes)
        types = {gpu.type for gpu in fleet.gpus}
        resources = {name for node in nodes for name in node.resources}
        resources |= {name for gpu in fleet.gpus for name in gpu.resources}
        models, plain = [], self.problem.columns.plain
        for model in () if plain else self.problem.models:
            left = tuple(kind for kind in model.gpu_types if kind in types)
            if (model.gpu_types and not left) or not resources >= model.resources.keys():
                return None
            models.append(model if left == model.gpu_types else replace(model, gpu_types=left))
        kept = self.problem.models if plain else tuple(models)
        bare = replace(self.problem, models=kept, fleet=fleet, rules=())
        rules = []
        for index, rule in enumerate(self.problem.rules):
            if index in self.left_out or (relaxed and not _monotone(rule)):
                continue
            if not any(rule.faults(bare)):
                rules.append(rule)
            elif rule.confines and rule.soft is None:
                return None
            # Any other rule about a label that no node has holds by itself.
        return replace(bare, rules=tuple(rules))

    @property
    def monotone(self) -> bool:
        """Whether one more node never hurts: no soft rule, no spread."""
        return all(map(_monotone, self.problem.rules))

    def in_words(self, mix: Mix) -> str:
        """Return a mix such as ``2 nodes of 8 x H100-SXM-80GB``."""
        pairs = [(n, kind[0]) for n, kind in zip(mix, self.kinds, strict=True) if n]
        return " + ".join(_several(n, node) for n, node in pairs)


def stock_of(
    problem: Problem, nodes: Sequence[Node] = (), prices: Mapping[str, float] | None = None
) -> Stock:
    """Return the stock of a problem's own nodes, or of others.

    Parameters
    ----------
    problem
        What is to be served.
    nodes
        A node of each kind; empty for those of the problem's fleet.
    prices
        Price of a GPU per hour by its type; None to look for the fewest GPUs.

    Raises
    ------
    InputError
        A type has no price, or a model takes of a resource that no node has.
    """
    offered = [node for node in _named_alike(problem, nodes) or problem.fleet.nodes if node.gpus]
    shapes = dict.fromkeys(node.shape for node in offered)
    kinds = tuple(tuple(node for node in offered if node.shape == shape) for shape in shapes)
    types = {gpu.type for kind in kinds for gpu in kind[0].gpus}
    costs = {kind: 1.0 if prices is None else price_of(prices, kind) for kind in types}
    faults = [
        Fault(
            f"{name!r} has no price; prices, per GPU and hour, are given "
            f"for {', '.join(sorted(prices or ()))}"
        )
        for name, cost in sorted(costs.items())
        if cost is None
    ]
    held = {name for node in offered for name in node.resources}
    held |= {name for node in offered for gpu in node.gpus for name in gpu.resources}
    faults += [
        Fault(f"{problem.names[index]!r} takes of {name!r}, which no node on offer has")
        for index, name in sorted(problem.columns.resources)
        if name not in held
    ]
    if faults:
        raise InputError(faults)
    models = problem.models
    if not problem.columns.plain:
        models = tuple(
            replace(model, gpu_types=tuple(t for t in model.gpu_types if t in types) or ())
            for model in models
        )
    bare = replace(problem, models=models, fleet=Fleet(tuple(offered)), rules=())
    left_out = tuple(
        index
        for index, rule in enumerate(problem.rules)
        if _names_hosts(rule) or any(rule.faults(bare))
    )
    per_node = tuple(sum(costs[gpu.type] or 0.0 for gpu in kind[0].gpus) for kind in kinds)
    return Stock(problem, kinds, per_node, prices is not None, left_out)


def _named_alike(problem: Problem, nodes: Sequence[Node]) -> Sequence[Node]:
    """Return nodes on offer whose GPUs have the names by which the fleet knows their types.

    ``L40S`` and ``L40S-48GB`` are one type, which models may be confined to by either name.
    """
    fleet = {kind.name: name for name in problem.gpu_types if (kind := find_gpu_type(name))}

    def named(gpu: GPU) -> GPU:
        kind = None if gpu.type in problem.gpu_types else find_gpu_type(gpu.type)
        return replace(gpu, type=fleet.get(kind.name, gpu.type)) if kind else gpu

    return [replace(node, gpus=tuple(map(named, node.gpus))) for node in nodes]


def _several(number: int, node: Node) -> str:
    """Return a number of nodes of a kind in words."""
    if len(node.gpus) == 1:
        return f"{number:,} x {node.gpus[0].type}"
    return f"{number:,} {'node' if number == 1 else 'nodes'} of {node.contents}"


def _nodes(kind: tuple[Node, ...], number: int) -> list[Node]:
    """Return that many nodes of a kind: those that are named, then others like them."""
    nodes = list(kind[:number])
    for serial in range(len(kind), number):
        like = kind[serial % len(kind)]
        name = f"{like.name}+{serial // len(kind)}"
        gpus = tuple(replace(gpu, id=f"{name}/{i}") for i, gpu in enumerate(like.gpus))
        nodes.append(replace(like, name=name, gpus=gpus))
    return nodes


def _names_hosts(rule: Rule) -> bool:
    """Whether a rule speaks of single GPUs or nodes, which are yet to be chosen."""
    return bool(rule.named_places.gpus or rule.named_places.nodes)


def _monotone(rule: Rule) -> bool:
    """Whether a rule that holds in a fleet holds in a larger one."""
    return rule.soft is None and rule.monotone


def _grown(model: Model, factor: float) -> Model:
    """Return a model with its rate times a factor, in every window."""

    def grown(demand: Demand) -> Demand:
        return replace(demand, requests_per_second=demand.requests_per_second * factor)

    windows = {name: grown(demand) for name, demand in model.windows.items()}
    return replace(model, demand=grown(model.demand), windows=windows)
