"""Fixed parts of the KV memory: at no step do processes hold more than a GPU has."""

from random import Random

import pytest
from test_runbook import fleet, model, proposed

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.export.layout import lay_out
from kvplace.export.runbook.deeds import DeedKind, deeds_of
from kvplace.export.runbook.fixed_parts import with_resizes
from kvplace.export.runbook.transition import transition_of


def random_placement(random, problem):
    """Return a valid placement of every model on one GPU, or None after some tries."""
    gpus = [gpu.id for gpu in problem.fleet.gpus]
    for _ in range(40):
        found = Placement(tuple(Replica(m.name, 0, (random.choice(gpus),)) for m in problem.models))
        if evaluate(problem, found).valid:
            return found
    return None


def walk(transition, deeds):
    """Do deeds one by one, by what processes hold; return the parts that are left in the end."""
    memory = {gpu.id: gpu.usable_bytes for gpu in transition.target.problem.fleet.gpus}
    held = {r: (run.part.footprint_bytes, run.part.kv_bytes)
            for r, run in transition.running.items()}  # fmt: skip
    for deed in deeds:
        if deed.kind in (DeedKind.LOAD, DeedKind.RESIZE):
            for engine in deed.engines:
                held[engine.replica] = (engine.footprint_bytes, engine.kv_bytes)
        elif deed.kind is DeedKind.UNLOAD:
            for run in deed.running:
                del held[Replica(run.part.model, run.part.index, run.part.gpus)]
        for gpu, room in memory.items():
            assert sum(sum(v) for r, v in held.items() if gpu in r.gpus) <= room, (deed, gpu)
    return {replica: part for replica, (_, part) in held.items()}


@pytest.mark.parametrize("seed", range(3))
def test_no_gpu_is_over_its_memory_and_all_parts_are_reached(seed):
    random = Random(seed)
    done = refused = 0
    while done + refused < 25:
        models = tuple(
            model(f"m{at}", random.randint(4, 30), rate=random.choice([0.5, 2.0, 8.0]))
            for at in range(random.randint(2, 6))
        )
        problem = Problem(models, fleet("n", "m", gib=random.choice([60, 80])))
        before, after = random_placement(random, problem), random_placement(random, problem)
        if before is None or after is None:
            continue
        proposal, result = proposed(models, problem.fleet, before, after)
        target = lay_out(
            result.problem, result.placement, kept=result.kv_parts, names=result.engine_names
        )
        transition = transition_of(proposal, target)
        try:
            deeds = with_resizes(transition, deeds_of(transition))
        except InputError as error:
            assert "no room" in str(error)  # noqa: PT017 - only some are refused
            refused += 1
            continue
        parts = walk(transition, deeds)
        assert parts == {engine.replica: engine.kv_bytes for engine in target.engines}
        names = [
            (transition.running[r].node, transition.running[r].port) for r in transition.running
        ]
        names += [(target.problem.fleet.domain(e.gpus[0], "node"), e.port)
                  for e in target.engines if e.replica not in transition.running]  # fmt: skip
        assert len(set(names)) == len(names)
        done += 1
    assert done > refused
