"""A model that a fleet file only names: what it leaves out, from the catalogue."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, NamedTuple

from kvplace.core.hardware import Node
from kvplace.errors import InputError
from kvplace.facts.catalogue.known_facts import facts_of
from kvplace.facts.catalogue.models import known_model, near_model
from kvplace.facts.memory.degree import smallest_degree
from kvplace.facts.memory.figures import CacheFigures, cache_figures
from kvplace.facts.model_facts import ModelFacts
from kvplace.formats.diagnostics import Path, Report, shown
from kvplace.formats.fleet.launch import LaunchPart
from kvplace.formats.fleet.schema import KnownModelPart
from kvplace.units import format_bytes

_FP8 = ("fp8", "fp8_e4m3", "fp8_e5m2")


class Known(NamedTuple):
    """Fills in models that are only named, and notes what it took from where.

    Parameters
    ----------
    nodes
        The fleet: it decides the degree of a model that does not state one.
    report
        Where faults go.
    assumed
        Where it is noted.
    """

    nodes: Sequence[Node]
    report: Report
    assumed: list[str]

    def filled(
        self, part: KnownModelPart, item: dict[str, Any], path: Path
    ) -> dict[str, Any] | None:
        """Return a model with what it leaves out; None, and a fault, where that is not known.

        Parameters
        ----------
        part, item
            The model, and as the file has it.
        path
            Where it is.
        """
        facts = self._facts(part, path)
        if facts is None:
            return None
        given = {key: value for key, value in item.items() if value is not None and key != "model"}
        own: dict[str, Any] = {"name": facts.name, "demand": {"requests_per_second": 0.0}}
        said = []
        if "weights" not in given:
            own["weights"] = f"{facts.weights_bytes.value}B"
            said.append(f"weights {format_bytes(facts.weights_bytes.value)}")
        try:
            degrees = part.tensor_parallel
            if "tensor_parallel" not in given:
                degrees = (self._degree(part, facts),)
                own["tensor_parallel"] = degrees[0]
                said.append(f"tensor_parallel {degrees[0]}")
            if "kv_bytes_per_token" not in given:
                figures = cache_figures(facts, max(degrees))
                own |= _cache(figures)
                said.append(f"{figures.bytes_per_token.value:,} B of KV cache per token")
        except InputError as error:
            self.report.add(path, error.faults[0].message)
            return None
        if said:
            self.assumed.append(f"{facts.name}: {', '.join(said)}; {facts.weights_bytes.origin}")
        return own | given

    def _facts(self, part: KnownModelPart, path: Path) -> ModelFacts | None:
        """Return what the catalogue knows of a model; None, and a fault, where that is nothing."""
        known = known_model(part.model)
        place = (*path, "model")
        if known is None:
            near = near_model(part.model)
            hint = f"did you mean {shown(near)}" if near else "kvplace catalogue models lists them"
            self.report.add(
                place,
                f"the catalogue has no model {shown(part.model)}; {hint}; of another model give "
                "name and weights in place of model (kvplace init writes them from its files)",
            )
            return None
        try:
            return facts_of(known, self._kv_dtype(part.launch))
        except InputError as error:
            way = f"kvplace init --models {part.model} --facts hub writes what its checkpoint says"
            self.report.add(place, f"{error.faults[0].message.partition(';')[0]}; {way}")
            return None

    def _degree(self, part: KnownModelPart, facts: ModelFacts) -> int:
        """Return the smallest degree that fits one of the nodes that a model may run on."""
        usable = [
            (len(node.gpus), max((g.usable_bytes for g in gpus), default=0))
            for node in self.nodes
            if (gpus := [g for g in node.gpus if not part.gpu_types or g.type in part.gpu_types])
        ]
        if not usable:
            return 1  # what is wrong with the nodes is told elsewhere
        return smallest_degree(
            facts, max(memory for _, memory in usable), max(count for count, _ in usable)
        ).value

    def _kv_dtype(self, launch: LaunchPart | None) -> str:
        """Return the type of the KV cache that the engine's arguments ask for."""
        given = () if launch is None else launch.args
        words = [part for word in given for part in word.split("=", 1)]
        asked = (value for flag, value in pairwise(words) if flag == "--kv-cache-dtype")
        return "fp8" if next(asked, "") in _FP8 else "auto"


def _cache(figures: CacheFigures) -> dict[str, Any]:
    """Return what a file states of what a model caches."""
    stated: dict[str, Any] = {
        "kv_bytes_per_token": figures.bytes_per_token.value,
        "sliding_windows": list(map(asdict, figures.windows)),
        "kv_block_tokens": figures.block_tokens.value,
    }
    if figures.bytes_per_sequence is not None:
        stated["kv_bytes_per_sequence"] = figures.bytes_per_sequence.value
    if figures.split is not None:
        key, fact = figures.split
        stated[key] = fact.value
    return stated
