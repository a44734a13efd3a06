"""The engines of a re-plan: what those that run are, and what those to come are called."""

from collections.abc import Iterable, Mapping

from kvplace.core.models.launch import EngineName
from kvplace.core.models.model import Model
from kvplace.core.placement import Placement, Replica
from kvplace.core.result import Result, placed
from kvplace.errors import InputError
from kvplace.export.layout import Engine, lay_out
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
    engines = _running(found, before)
    known = {engine.replica: EngineName(engine.label, engine.port) for engine in engines}
    alive = [r for r in found.current if all(map(fleet.gpu, r.gpus))]
    if not engines:
        named = name_engines(fleet, alive, {*names, *(r.model for r in alive)})
        known = {r: named[r.model, r.index].engine for r in alive}
    sizes = {e.replica: (e.footprint_bytes, e.kv_bytes) for e in engines}
    parts = {
        replica: RunningPart(
            model=replica.model,
            replica=replica.index,
            gpus=replica.gpus,
            label=name.label,
            port=name.port,
            footprint_bytes=sizes.get(replica, (0, 0))[0],
            kv_bytes=sizes.get(replica, (0, 0))[1],
        )
        for replica, name in known.items()
    }
    wanted = list(found.placement)
    to_be = {key: named.engine for key, named in beside(fleet, known, wanted, names).items()}
    plain = {key: named.engine for key, named in name_engines(fleet, wanted, names).items()}
    return Engines(
        parts,
        _kept(found.placement, engines),
        _other(found.placement, to_be, plain, found),
        _former(found, before),
    )


def _former(found: Replan, before: Result | None) -> tuple[Model, ...]:
    """Return the models that run and are no longer to be served, as the plan that runs has them."""
    if before is None:
        return ()
    gone = {replica.model for replica in found.current} - found.problem.index_of.keys()
    return tuple(model for model in before.problem.models if model.name in gone)


def _running(found: Replan, before: Result | None) -> tuple[Engine, ...]:
    """Return the engines that run; none where that is not known."""
    try:
        if before is not None:
            return lay_out(
                before.problem, placed(before), BASE_PORT, before.kv_parts, before.engine_names
            ).engines
        return lay_out(found.problem, found.current).engines
    except InputError:
        return ()  # it does not hold: parts and names are not known


def _kept(placement: Placement, engines: Iterable[Engine]) -> dict[tuple[str, int], int]:
    """Return the KV bytes of engines that stay."""
    stays = set(placement)
    return {(e.replica.model, e.replica.index): e.kv_bytes for e in engines if e.replica in stays}


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
