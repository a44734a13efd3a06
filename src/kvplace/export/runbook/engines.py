"""The engines of a re-plan: what those that run are, and what those to come are called."""

from collections.abc import Mapping

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.launch import EngineName
from kvplace.core.models.model import Model
from kvplace.core.placement import Placement, Replica
from kvplace.core.result import Result, placed
from kvplace.errors import InputError
from kvplace.export.layout import names_and_parts
from kvplace.export.naming import BASE_PORT, beside, name_engines
from kvplace.formats.proposal import RunningPart
from kvplace.replan.outcome import Replan
from kvplace.replan.proposal import Engines


def engines_of(found: Replan, before: Result | None = None) -> Engines:
    """Say what is known of the engines of a re-plan.

    Parameters
    ----------
    found
        A re-plan with a placement.
    before
        The plan that runs, whose exports are taken to be in effect. Without it, those of what
        runs under the problem of the re-plan are, where it is valid; names only where it is not.

    Raises
    ------
    InputError
        There are too few ports on a node.
    """
    assert found.placement is not None
    fleet, names = found.problem.fleet, list(found.problem.index_of)
    engines, stays = _running(found, before), set(found.placement)
    parts = {(r.model, r.index): part.kv_bytes for r, part in engines.items() if r in stays}
    known = {replica: EngineName(part.label, part.port) for replica, part in engines.items()}
    if not engines:
        alive = [r for r in found.current if all(map(fleet.gpu, r.gpus))]
        named = name_engines(fleet, alive, {*names, *(r.model for r in alive)})
        known = {r: named[r.model, r.index].engine for r in alive}
        engines = {r: _part(r, name) for r, name in known.items()}
    wanted = list(found.placement)
    to_be = {key: named.engine for key, named in beside(fleet, known, wanted, names).items()}
    plain = {key: named.engine for key, named in name_engines(fleet, wanted, names).items()}
    return Engines(
        engines,
        parts,
        _other(found.placement, to_be, plain, found),
        _former(found, before),
    )


def _former(found: Replan, before: Result | None) -> tuple[Model, ...]:
    """Return the models that run and are no longer to be served, as the plan that runs has them."""
    if before is None:
        return ()
    gone = {replica.model for replica in found.current} - found.problem.index_of.keys()
    return tuple(model for model in before.problem.models if model.name in gone)


def _running(found: Replan, before: Result | None) -> dict[Replica, RunningPart]:
    """Return the engines that run; none where that is not known."""
    problem = found.problem if before is None else before.problem
    placement = found.current if before is None else placed(before)
    known = problem is found.problem and placement is found.current
    kept, names = (None, None) if before is None else (before.kv_parts, before.engine_names)
    try:
        evaluation = found.before if known else evaluate(problem, placement)
        named, parts = names_and_parts(problem, placement, evaluation, BASE_PORT, kept, names)
    except InputError:
        # It does not hold: parts and names are not known, or only those of an export.
        return {} if before is None else _running(found, None)
    footprint = {
        (s.model, s.replica): s.weights_bytes for gpu in evaluation.gpus for s in gpu.shards
    }
    keyed = ((replica, (replica.model, replica.index)) for replica in placement)
    return {r: _part(r, named[key].engine, footprint[key], parts[key]) for r, key in keyed}


def _part(
    replica: Replica, name: EngineName, footprint_bytes: int = 0, kv_bytes: int = 0
) -> RunningPart:
    return RunningPart(
        model=replica.model, replica=replica.index, gpus=replica.gpus,
        label=name.label, port=name.port, footprint_bytes=footprint_bytes, kv_bytes=kv_bytes,
    )  # fmt: skip


def _other(
    placement: Placement,
    to_be: Mapping[tuple[str, int], EngineName],
    plain: Mapping[tuple[str, int], EngineName],
    found: Replan,
) -> dict[tuple[str, int], EngineName]:
    """Return the names of nodes on which any is not the one that an export would make by itself."""
    fleet = found.problem.fleet

    def node(replica: Replica) -> str:
        return fleet.domain(replica.gpus[0], "node") or ""

    differ = {node(r) for r in placement if to_be[r.model, r.index] != plain[r.model, r.index]}
    return {(r.model, r.index): to_be[r.model, r.index] for r in placement if node(r) in differ}
