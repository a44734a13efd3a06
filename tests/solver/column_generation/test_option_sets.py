"""The program with options: what it calls impossible is so by brute force, and its sets fit."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import made
from boards import drawn_boards
from kvplace.core.models.model import Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.rules.forbid import Forbid
from kvplace.core.rules.places import Places
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation import option_sets
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.instance.columns import undominated
from kvplace.solver.instance.door import load_instance
from oracle_splits import solve_by_force
from tiny import GIB

BOTH = Objective.REQUESTS, Objective.PRESSURE


def programs(seed, count, *, objectives=BOTH):
    """Yield random problems without what the program leaves out, each with a valid assignment."""
    for draw, problem, board in drawn_boards(seed, count, objectives=objectives, valid=True):
        models = tuple(replace(model, resources={}) for model in problem.models)
        free = replace(problem, models=models, rules=())
        instance = load_instance(free)
        if len(instance.size) == len(board.instance.size):
            yield draw, free, OptionSets(instance), board


def held_rows(board):
    """Return the options of the shards on each GPU."""
    return [sorted(board.option[j].row for j in held) for held in board.members]


def sets_of(program):
    return list(program._columns)


@pytest.mark.parametrize("seed", range(2))
def test_what_is_possible_is_never_called_impossible(seed):
    shown, total = 0, 0
    for _, problem, program, _ in programs(seed, 10):
        truth = solve_by_force(problem)
        if not truth.value:
            continue
        for part in (1 + 1e-6, 1.5, 1e6):
            verdict = program.decide(truth.value * part, Watch())
            assert not verdict.impossible
            assert verdict.target == truth.value * part
        below = program.decide(truth.value * 0.7, Watch())
        shown += below.impossible
        total += 1
    assert shown >= 0.3 * total


def test_a_lower_target_needs_no_smaller_share():
    for draw, problem, program, _ in programs(3, 12):
        optimum = solve_by_force(problem).value
        if not optimum:
            continue
        low, high = sorted(optimum * draw.uniform(0.5, 2.0) for _ in range(2))
        needs = [program.decide(target, Watch()) for target in (low, high)]
        if all(need.exact for need in needs):
            assert needs[0].share >= needs[1].share * (1 - 1e-6)


def test_prices_say_what_the_share_is():
    """Recomputed: the cheapest options of all models, over GPUs that are worth 1 together."""
    for _, problem, program, _ in programs(4, 15):
        optimum = solve_by_force(problem).value
        if not optimum:
            continue
        for part in (0.9, 1.2):
            for verdict in (
                program.decide(optimum * part, Watch()),
                program.fluid(optimum * part),
            ):
                if verdict.share == math.inf:
                    continue
                assert program.count @ verdict.worths == pytest.approx(1.0)
                assert (verdict.prices >= 0).all()
                assert verdict.share == pytest.approx(program.least(verdict.prices).sum(), rel=1e-9)
                assert program.least(verdict.prices).sum() == pytest.approx(verdict.share)


def test_the_share_does_not_depend_on_the_options_that_it_begins_with(monkeypatch):
    for _, problem, program, _ in programs(7, 5):
        target = 0.9 * solve_by_force(problem).value
        if not target:
            continue
        said = []
        for opened in (1.0, math.inf):
            monkeypatch.setattr(option_sets, "OPENED", opened)
            said.append(OptionSets(program.instance).decide(target, Watch()))
        few, all_ = said
        if few.exact and all_.exact and few.share < math.inf:
            assert few.share == pytest.approx(all_.share, rel=1e-5)


def test_the_fluid_verdict_is_the_weaker_one():
    for _, problem, program, _ in programs(5, 12):
        optimum = solve_by_force(problem).value
        if not optimum:
            continue
        verdict = program.decide(optimum * 0.95, Watch())
        if verdict.exact and verdict.share < math.inf:
            assert program.fluid(optimum * 0.95).share <= verdict.share * (1 + 1e-6)


def test_the_sets_of_an_assignment_fit_at_its_pressure():
    for _, _, program, board in programs(6, 20):
        if any(map(program.instance.is_uneven, range(program.instance.n))) or not board.worst():
            continue
        program.add(held_rows(board))
        known = {(kind, rows) for kind, rows in sets_of(program)}
        assert known == {
            (program.kind_of[g], tuple(rows)) for g, rows in enumerate(held_rows(board)) if rows
        }
        rooms, fits = program.rooms(board.worst() * (1 + 1e-9))
        for kind, rows in known:
            held = rooms[kind].sizes[:, list(rows)].sum(axis=1)
            assert (held <= rooms[kind].capacity).all()
            assert fits[list(rows), kind].all()
        below, _ = program.rooms(board.worst() * (1 - 1e-6))
        hot = board.pressure.index(board.worst())
        rows = held_rows(board)[hot]
        assert (below[program.kind_of[hot]].sizes[:, rows].sum(axis=1) > 1).any()


def test_a_shard_fits_a_room_where_it_fits_a_gpu_of_that_kind_alone():
    for draw, _, program, board in programs(7, 5):
        instance, target = program.instance, board.worst() * draw.uniform(0.5, 2.0)
        if not 0 < target < math.inf:
            continue
        rooms, fits = program.rooms(target)
        for kind, (type_, memory) in enumerate(program.kinds):
            gpus = [g for g in range(instance.g) if program.kind_of[g] == kind]
            assert all(instance.memory[g] == memory for g in gpus)
            for j, options in enumerate(instance.options):
                if instance.is_uneven(j):
                    continue
                for option in options:
                    loads, free = option.loads[type_], memory - option.size
                    kv = [load / free if free > 0 else math.inf for load in loads[: instance.kv]]
                    alone = max([*kv, *loads[instance.kv :]])
                    may = any(instance.columns.allowed[j][g] for g in gpus)
                    inside = free >= max(1, option.keep) and alone < target * (1 - 1e-9)
                    outside = free < max(1, option.keep) or alone > target * (1 + 1e-9)
                    if fits[option.row, kind]:
                        assert may
                        assert not outside
                    seated = instance.columns.least[option.row] < math.inf
                    if may and inside and seated:
                        assert np.isfinite(rooms[kind].sizes[:, option.row]).all()


def test_copies_take_different_gpus():
    """Three copies of one GPU each cannot lie on two GPUs, however small they are."""
    three = made.model("a", 1, 1.0, replicas=Replicas(3, 3))
    for gpus, possible in [(2, False), (3, True)]:
        instance = load_instance(made.problem([three], made.fleet(80, gpus=gpus)))
        if instance.n and len(instance.size):
            verdict = OptionSets(instance).decide(1e9, Watch())
            assert verdict.impossible == (not possible)


def test_a_model_that_fits_nowhere_at_a_target_proves_it_alone():
    models = [made.model("a", 40, 100.0), made.model("b", 1, 1.0)]
    program = OptionSets(load_instance(made.problem(models, made.fleet(80, 80))))
    hot = int(np.argmax(program.instance.size))
    least = program.instance.load[hot] / (program.instance.memory[0] - program.instance.size[hot])
    verdict = program.decide(least * 0.99, Watch())
    assert verdict.impossible
    assert verdict.exact
    assert verdict.prices.tolist() == [float(row == hot) for row in range(2)]
    assert not verdict.worths.any()
    assert not program.decide(least * 1.01, Watch()).impossible


def test_the_cheaper_split_counts():
    """Whole on one GPU or halved on two: the program may mix them, and pays the least."""
    models = [made.model(f"m{k}", 40, 1.0, tensor_parallel=(1, 2)) for k in range(3)]
    program = OptionSets(load_instance(made.problem(models, made.fleet(80, gpus=2))))
    prices = np.where(np.array(program.instance.degree) == 1, 1.0, 0.4)
    assert program.least(prices).tolist() == pytest.approx([0.8] * 3)
    assert program.least(prices).sum() == pytest.approx(2.4)
    cheap = program.decide(1e9, Watch())
    assert not cheap.impossible


def test_kinds_are_types_and_memory_and_masks_close_some():
    models = [made.model("a", 20), made.model("b", 20)]
    fleet = made.fleet(80, 40, 80)
    rule = Forbid(("a",), None, Places(nodes=("h1",)))
    program = OptionSets(load_instance(made.problem(models, fleet, rule)))
    assert Counter(program.kind_of) == {0: 1, 1: 2}
    assert program.count.tolist() == [1.0, 2.0]
    _, fits = program.rooms(1e9)
    names = [("a", "b")[i] for i in program.instance.model_index]
    small = [memory for _, memory in program.kinds].index(40 * GIB)
    assert not fits[names.index("a"), small]
    assert fits[names.index("b")].all()


def test_no_time_gives_a_verdict_that_holds():
    watch = Watch()
    watch.interrupt()
    for _, problem, program, _ in programs(8, 5):
        optimum = solve_by_force(problem).value
        if optimum:
            assert not program.decide(optimum * (1 + 1e-6), watch).impossible
            assert program.decide(optimum * 0.5, watch).share >= 0


def test_a_target_of_nothing_is_none_that_loads_reach():
    for _, _, program, board in programs(9, 10):
        if board.worst():
            assert program.decide(0.0, Watch()).impossible


def test_limits_that_another_covers_are_left_out():
    limits = np.array([[0.5, 0.4, 0.1], [0.2, 0.2, 0.3]])
    assert undominated(limits) == [0, 2]
    assert undominated(np.array([[0.5, 0.5], [0.2, 0.2]])) in ([0], [1])
    assert undominated(np.array([[0.5], [0.2]])) == [0]
