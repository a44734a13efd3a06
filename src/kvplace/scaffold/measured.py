"""Start-up logs of engines held against the estimates, and written into a fleet file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from kvplace.errors import Fault, InputError
from kvplace.facts.catalogue.gpus import GPUType
from kvplace.facts.catalogue.models import known_model
from kvplace.facts.catalogue.shapes import known_shape
from kvplace.facts.memory.loaded import loaded_weights
from kvplace.facts.memory.overhead import EngineLimits, engine_limits, overhead
from kvplace.facts.memory.start_log import StartLog
from kvplace.units import GIB, parse_bytes


@dataclass(frozen=True, slots=True)
class Compared:
    """One log and what was expected of it; None where the log or the facts do not tell.

    Parameters
    ----------
    log
        What the engine printed.
    model
        Name of the model, which the log need not know.
    resident_bytes
        What one rank was measured to take besides KV cache.
    expected_weights_bytes, expected_resident_bytes
        The estimates.
    """

    log: StartLog
    model: str
    resident_bytes: int | None
    expected_weights_bytes: int | None
    expected_resident_bytes: int | None


def compare(log: StartLog, model: str, gpu: GPUType | None = None) -> Compared:
    """Return a log beside the estimate for the same model, degree and engine.

    Parameters
    ----------
    log
        What the engine printed.
    model
        Name of the model.
    gpu
        What it ran on, where known: it tells the engine's default limits, and its memory where
        the log does not.
    """
    measured = log.resident_bytes(gpu.memory_bytes if gpu else None)
    known = known_model(model)
    shape = known_shape(model, known.weights_bytes) if known else None
    if known is None or shape is None:
        return Compared(log, model, measured, None, None)
    limits = engine_limits([gpu] if gpu else [], log.engine)
    tokens = int(log.figures.get("batched", limits.batched_tokens))
    parts = log.release.split(".")
    beside = overhead(
        shape,
        log.degree,
        EngineLimits(tokens, limits.sequences),
        linked=gpu is None or bool(gpu.link_gb_per_second),
        engine=log.engine,
        release=(int(parts[0]), int(parts[1])) if len(parts) > 1 else None,
    )
    weights = loaded_weights(known.weights_bytes, shape, log.degree).total_bytes
    return Compared(log, model, measured, weights, weights + beside.total)


def written(text: str, source: str, found: Sequence[Compared]) -> str:
    """Return a fleet file with what was measured as ``resident`` of its models.

    All else stays as it is, comments included. Of several logs of one model and degree the one
    that took most counts.

    Parameters
    ----------
    text
        The file: YAML or JSON.
    source
        Its name.
    found
        What was measured.

    Raises
    ------
    InputError
        A model is not in the file, or a log does not tell what its model takes.
    """
    taken: dict[str, dict[int, Compared]] = {}
    faults = []
    for item in found:
        if item.log.on_cpu:
            message = "the engine runs on a CPU; measure it on the GPU that the fleet has"
            faults.append(Fault(f"{item.log.source}: {message}"))
            continue
        if item.resident_bytes is None:
            faults.append(
                Fault(
                    f"{item.log.source}: does not tell what is taken besides KV cache; name the "
                    "GPU with --gpu, or log at level INFO"
                )
            )
            continue
        by_degree = taken.setdefault(item.model, {})
        other = by_degree.get(item.log.degree)
        if other is None or (other.resident_bytes or 0) < item.resident_bytes:
            by_degree[item.log.degree] = item
    nodes = _model_nodes(text)
    faults += [
        Fault(f"no model {name!r} in this file", name) for name in taken if name not in nodes
    ]
    if faults:
        raise InputError(faults, source)
    changes = [
        _change(text, nodes[name], {d: items[d] for d in sorted(items)})
        for name, items in taken.items()
    ]
    for start, end, new in sorted(changes, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _model_nodes(text: str) -> dict[str, yaml.MappingNode]:
    """Return the part of the file of each model."""
    root = yaml.compose(text, yaml.SafeLoader)
    found: dict[str, yaml.MappingNode] = {}
    models = _value(root, "models") if isinstance(root, yaml.MappingNode) else None
    for node in models.value if isinstance(models, yaml.SequenceNode) else []:
        if not isinstance(node, yaml.MappingNode):
            continue
        name = _value(node, "name") or _value(node, "model")  # the catalogue's name alone will do
        if isinstance(name, yaml.ScalarNode):
            found[name.value] = node
    return found


def _value(node: yaml.MappingNode, key: str) -> yaml.Node | None:
    return next((value for name, value in node.value if name.value == key), None)


def _change(
    text: str, node: yaml.MappingNode, items: Mapping[int, Compared]
) -> tuple[int, int, str]:
    """Return from where to where to put what."""
    sizes = {degree: f"{_gib(item):.2f}GiB" for degree, item in items.items()}
    logs = "; ".join(f"{item.log.engine} {item.log.release}".strip() for item in items.values())
    names = ", ".join(item.log.source for item in items.values())
    comment = f"  # measured: {logs}, {names}"
    comment = "".join(c if c.isprintable() else " " for c in comment)
    old = _value(node, "resident")
    if isinstance(old, yaml.MappingNode):
        for key, value in old.value:
            sizes.setdefault(int(key.value), value.value)
            parse_bytes(value.value)
        last = old.value[-1][1] if old.value else old
        end = old.end_mark.index if old.flow_style else last.end_mark.index
        return old.start_mark.index, end, _mapping(sizes)
    if node.flow_style:
        at = node.value[-1][1].end_mark.index
        return at, at, f", {_quoted(text, node)}: {_mapping(sizes, json=_json(text, node))}"
    keys = (_value(node, key) for key in ("weights", "name", "model"))
    weights = next((value for value in keys if value is not None), None)
    assert weights is not None
    at = text.find("\n", weights.end_mark.index)
    indent = " " * node.value[0][0].start_mark.column
    line = f"{indent}resident: {_mapping(sizes)}{comment}"
    if at < 0:
        return len(text), len(text), f"\n{line}"
    return at, at, f"\n{line}"


def _json(text: str, node: yaml.MappingNode) -> bool:
    """Return whether a mapping is written as in JSON."""
    return text[node.value[0][0].start_mark.index] == '"'


def _quoted(text: str, node: yaml.MappingNode) -> str:
    return '"resident"' if _json(text, node) else "resident"


def _mapping(sizes: Mapping[int, str], *, json: bool = False) -> str:
    form = '"{}": "{}"' if json else "{}: {}"
    return "{" + ", ".join(form.format(d, sizes[d]) for d in sorted(sizes)) + "}"


def _gib(item: Compared) -> float:
    return (item.resident_bytes or 0) / GIB
