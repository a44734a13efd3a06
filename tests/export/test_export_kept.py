"""Exports of two plans differ only where they must: parts, names and ports of what stays."""

from dataclasses import replace
from random import Random

import pytest
from test_export_accepted import model, node

from kvplace.core.hardware import Fleet
from kvplace.core.models.model import Replicas
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.export.files import EXPORTS, Options, files_for
from kvplace.export.layout import kept_parts, lay_out

GIB = 2**30


def shared(*rates):
    """Three models on one GPU of two, the last on both."""
    models = tuple(model(f"org/m{at}", 6 + at, rate=rate) for at, rate in enumerate(rates))
    placement = Placement(
        tuple(Replica(m.name, 0, ("n/0",) if at < 2 else ("n/1",)) for at, m in enumerate(models))
    )
    return Problem(models, Fleet((node("n", 2),))), placement


def files(problem, placement, to, kept=None):
    return files_for(problem, placement, to, Options(kept=kept or {}))


RUNTIMES = [name for name in EXPORTS if name != "prometheus"]  # which compares with the demand


@pytest.mark.parametrize("to", RUNTIMES)
@pytest.mark.parametrize("seed", range(3))
def test_demand_that_changes_by_a_tenth_changes_no_export(to, seed):
    random = Random(seed)
    problem, placement = shared(3.0, 1.0, 2.0)
    running = lay_out(problem, placement)
    changed = tuple(
        replace(m, demand=replace(m.demand, requests_per_second=rate))
        for m in problem.models
        for rate in [m.demand.requests_per_second * random.uniform(0.9, 1.1)]
    )
    later = replace(problem, models=changed)
    kept = kept_parts(running, placement)
    assert files(later, placement, to, kept) == files(problem, placement, to)


def test_parts_are_made_anew_where_that_pays():
    problem, placement = shared(3.0, 1.0, 2.0)
    running = lay_out(problem, placement)
    hot = replace(
        problem.models[1], demand=replace(problem.models[1].demand, requests_per_second=9.0)
    )
    later = replace(problem, models=(problem.models[0], hot, problem.models[2]))
    fresh = lay_out(later, placement)
    kept = lay_out(later, placement, kept=kept_parts(running, placement))
    assert [e.kv_bytes for e in kept.engines] == [e.kv_bytes for e in fresh.engines]


def test_who_stays_keeps_its_part_when_another_leaves():
    problem, placement = shared(3.0, 2.5, 2.0)
    running = lay_out(problem, placement)
    moved = Placement(
        (Replica("org/m0", 0, ("n/0",)), Replica("org/m1", 0, ("n/1",)), placement.replicas[2])
    )
    after = lay_out(problem, moved, kept=kept_parts(running, moved))
    before = {e.label: e.kv_bytes for e in running.engines}
    now = {e.label: e.kv_bytes for e in after.engines}
    # On n/0 twice the memory would halve the pressure of m0, which pays; m2 makes room for m1.
    assert now["org-m0"] > before["org-m0"]
    assert now["org-m1"] + now["org-m2"] <= 80 * GIB


def test_copies_keep_their_names_and_ports_while_others_stop():
    copies = replace(model("org/m", 6), replicas=Replicas(1, 3))
    problem = Problem((copies,), Fleet((node("n", 3),)))
    three = Placement(tuple(Replica("org/m", at, (f"n/{at}",)) for at in range(3)))
    two = Placement((three.replicas[0], three.replicas[2]))
    before = {e.gpus: (e.served_name, e.port, e.label) for e in lay_out(problem, three).engines}
    after = {e.gpus: (e.served_name, e.port, e.label) for e in lay_out(problem, two).engines}
    assert after == {gpus: before[gpus] for gpus in after}


def test_one_copy_always_bears_the_name_of_the_model():
    copies = replace(model("org/m", 6), replicas=Replicas(1, 3))
    problem = Problem((copies,), Fleet((node("n", 3),)))
    rest = Placement((Replica("org/m", 1, ("n/1",)), Replica("org/m", 2, ("n/2",))))
    names = [e.served_name for e in lay_out(problem, rest).engines]
    assert names == ["org/m", "org/m-r2"]
