"""What may go wrong with files that are right: said before anybody starts an engine."""

from collections.abc import Sequence

from kvplace.export.commands import STATIC
from kvplace.export.flags import stated_length
from kvplace.export.layout import Engine, Layout
from kvplace.facts.catalogue.models import known_model
from kvplace.facts.memory.estimates import typical_longest
from kvplace.units import format_bytes

_POOLED = frozenset(("kvcached", "aibrix", "prism"))
_EITHER = frozenset(("compose", "shell", "kubernetes"))
_NAMED = 3
_HALF = 0.5


def advice(layout: Layout, to: str, pool: str = STATIC, bursting: Sequence[str] = ()) -> list[str]:
    """Return a sentence for each thing that a runtime will trip over, or may.

    Parameters
    ----------
    layout
        What runs where.
    to
        The runtime, as in `kvplace.export.files.EXPORTS`.
    pool
        How engines that share a GPU share its KV memory.
    bursting
        Models whose bursts their part of it does not hold.
    """
    notes = []
    cut = [text for engine in layout.engines if (text := _cut(engine))]
    if cut and to != "prometheus":
        notes.append(
            "engines refuse requests longer than --max-model-len, which is four times the mean "
            f"request where the fleet file states no max_model_len: {_listed(cut)}"
        )
    if to not in _POOLED and pool == STATIC:
        unstated = [text for engine in layout.engines if (text := _unstated(engine))]
        if unstated:
            notes.append(
                "no max_model_len is planned, so vLLM takes the model's own context, and refuses "
                f"to start where one request of it takes more KV cache than it has: "
                f"{_listed(unstated)}; put a max_model_len into the fleet file"
            )
        long = [text for engine in layout.engines if (text := _too_long(engine))]
        if long:
            notes.append(
                "one request of --max-model-len may take more KV cache than an engine's part of "
                f"its GPU, and vLLM then refuses to start: {_listed(long)}; shorten it, plan with "
                "a larger min_kv, or let the engines share the pool (--kv kvcached)"
            )
        if bursting and to != "prometheus":
            shared = " or --kv kvcached" if to in _EITHER else ""
            notes.append(
                "the plan counts on one KV pool per GPU, and here each engine has a fixed part, "
                f"which bursts of {_listed(list(map(repr, bursting)))} overflow; kvplace simulate "
                "PLAN --pool static tells what is served, and kvplace refine PLAN --objective "
                f"forecast{shared} may serve more"
            )
    if to == "ray-serve":
        small = [repr(e.served_name) for e in layout.engines if e.degree > 1 and _share(e) <= _HALF]
        if small:
            notes.append(
                "Ray may put two shards of a replica on one GPU, which vLLM refuses, where each "
                f"takes half of it or less: {_listed(small)}; leave them more than half of each "
                "GPU, or use another runtime"
            )
    return notes


def _cut(engine: Engine) -> str:
    """Return the engine and its longest request, where that is estimated from the mean one."""
    model, tokens = engine.model, engine.model.max_model_len
    mean = (model.demand.prompt_tokens or 0) + (model.demand.output_tokens or 0)
    if stated_length(model.launch.args) or not tokens or tokens != typical_longest(mean):
        return ""
    return f"{engine.served_name!r} ({tokens:,} tokens)"


def _unstated(engine: Engine) -> str:
    """Return the engine where the model's own context is longer than what it has room for."""
    model = engine.model
    if stated_length(model.launch.args) or model.max_model_len:
        return ""
    known = known_model(engine.source)
    context = known.context_tokens if known is not None else None
    text = _too_long(engine, context or 0)
    return f"{text}, for {context:,} tokens" if text else ""


def _too_long(engine: Engine, otherwise: int = 0) -> str:
    """Return the engine, what its longest request takes and what it has, where that is less."""
    model = engine.model
    if model.launch.engine != "vllm":
        return ""
    tokens = stated_length(model.launch.args) or model.max_model_len or otherwise
    needed = model.request_bytes(tokens, engine.degree)
    if needed <= engine.kv_bytes:
        return ""
    return f"{engine.served_name!r} ({format_bytes(needed)} of {format_bytes(engine.kv_bytes)})"


def _share(engine: Engine) -> float:
    """Return the part of a GPU's memory that an engine gets."""
    return (engine.footprint_bytes + engine.kv_bytes) / engine.memory_bytes


def _listed(texts: Sequence[str]) -> str:
    """Return the first few texts, and how many more there are."""
    more = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f" and {more} more" if more > 0 else "")
