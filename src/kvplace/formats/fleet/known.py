"""A model that a fleet file only names: what it leaves out, from the catalogue."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from kvplace.core.hardware import Node
from kvplace.core.models.demand import Demand
from kvplace.core.models.model import Attention
from kvplace.errors import InputError
from kvplace.facts.catalogue.known_facts import facts_of
from kvplace.facts.catalogue.models import known_model, near_model
from kvplace.facts.catalogue.shapes import known_shape
from kvplace.facts.memory.degree import smallest_degree
from kvplace.facts.memory.figures import CacheFigures, cache_figures
from kvplace.facts.model_facts import ModelFacts
from kvplace.formats.diagnostics import Path, Report, shown
from kvplace.formats.fleet.asked import DemandPart, SlidingWindowPart
from kvplace.formats.fleet.launch import LaunchPart
from kvplace.formats.fleet.schema import DefaultsPart, KnownModelPart, ModelPart
from kvplace.units import format_bytes

__all__ = ["Known"]

_FP8 = ("fp8", "fp8_e4m3", "fp8_e5m2")


class Known:
    """Fills in models that are only named, and notes what it took from where.

    Parameters
    ----------
    nodes
        The fleet: it decides the degree of a model that does not state one.
    defaults
        Of the file: how engines are started.
    report
        Where faults go.
    assumed
        Where it is noted.
    """

    def __init__(
        self, nodes: Sequence[Node], defaults: DefaultsPart, report: Report, assumed: list[str]
    ) -> None:
        self._nodes = nodes
        self._defaults = defaults
        self._report = report
        self._assumed = assumed

    def filled(self, part: KnownModelPart, path: Path) -> ModelPart | None:
        """Return a model with what it leaves out; None, and a fault, where that is not known."""
        facts = self._facts(part, path)
        if facts is None:
            return None
        given = {name: value for name, value in part if name in part.model_fields_set}
        given.pop("model")
        own: dict[str, Any] = {"name": facts.name, "demand": DemandPart.model_construct(
            **{name: getattr(_NONE, name) for name in DemandPart.model_fields}
        )}  # fmt: skip
        said = []
        if "weights_bytes" not in given:
            own["weights_bytes"] = facts.weights_bytes.value
            said.append(f"weights {format_bytes(facts.weights_bytes.value)}")
        if "architecture" not in given:
            size = given.get("weights_bytes") or facts.weights_bytes.value
            own["architecture"] = known_shape(facts.name, size)
        try:
            if "tensor_parallel" not in given:
                degree = self._degree(part, facts)
                own["tensor_parallel"] = (degree,)
                said.append(f"tensor_parallel {degree}")
            if "kv_bytes_per_token" not in given:
                degrees = given.get("tensor_parallel") or own["tensor_parallel"]
                figures = cache_figures(facts, max(degrees))
                own |= _cache(figures)
                said.append(f"{figures.bytes_per_token.value:,} B of KV cache per token")
        except InputError as error:
            self._report.add(path, error.faults[0].message)
            return None
        if said:
            self._assumed.append(f"{facts.name}: {', '.join(said)}; {facts.weights_bytes.origin}")
        return ModelPart.model_construct(**own | given)

    def _facts(self, part: KnownModelPart, path: Path) -> ModelFacts | None:
        """Return what the catalogue knows of a model; None, and a fault, where that is nothing."""
        known = known_model(part.model)
        place = (*path, "model")
        if known is None:
            near = near_model(part.model)
            hint = f"did you mean {shown(near)}" if near else "kvplace catalogue models lists them"
            self._report.add(
                place,
                f"the catalogue has no model {shown(part.model)}; {hint}; of another model give "
                "name and weights in place of model (kvplace init writes them from its files)",
            )
            return None
        try:
            return facts_of(known, self._kv_dtype(part.launch))
        except InputError as error:
            way = f"kvplace init --models {part.model} --facts hub writes what its checkpoint says"
            self._report.add(place, f"{error.faults[0].message.partition(';')[0]}; {way}")
            return None

    def _degree(self, part: KnownModelPart, facts: ModelFacts) -> int:
        """Return the smallest degree that fits one of the nodes that a model may run on."""
        usable = [
            (len(node.gpus), max((g.usable_bytes for g in gpus), default=0))
            for node in self._nodes
            if (gpus := [g for g in node.gpus if not part.gpu_types or g.type in part.gpu_types])
        ]
        if not usable:
            return 1  # what is wrong with the nodes is told elsewhere
        return smallest_degree(
            facts, max(memory for _, memory in usable), max(count for count, _ in usable)
        ).value

    def _kv_dtype(self, launch: LaunchPart | None) -> str:
        """Return the type of the KV cache that the engine's arguments ask for."""
        filled = (launch or LaunchPart()).filled_from(self._defaults.launch)
        words = [part for word in filled.args or () for part in word.split("=", 1)]
        asked = (value for flag, value in pairwise(words) if flag == "--kv-cache-dtype")
        return "fp8" if next(asked, "") in _FP8 else "auto"


_NONE = Demand(0.0)


def _cache(figures: CacheFigures) -> dict[str, Any]:
    """Return the fields that say what a model caches."""
    fields: dict[str, Any] = {"kv_bytes_per_token": figures.bytes_per_token.value}
    if figures.bytes_per_sequence is not None:
        fields["kv_bytes_per_sequence"] = figures.bytes_per_sequence.value
    fields["sliding_windows"] = tuple(
        SlidingWindowPart.model_construct(
            tokens=window.tokens, kv_bytes_per_token=window.kv_bytes_per_token
        )
        for window in figures.windows
    )
    fields["kv_block_tokens"] = figures.block_tokens.value
    if figures.split is not None:
        key, fact = figures.split
        fields[key] = Attention(str(fact.value)) if key == "attention" else fact.value
    return fields
