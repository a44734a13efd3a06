"""Columns: the instance as arrays, and sums over many models."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings

from kvplace.core.models.objective import Objective
from kvplace.solver.instance.columns import fluid_level, padded
from kvplace.solver.instance.door import load_instance
from splits import random_split_problem
from tiny import byte_problem, byte_problems

OBJECTIVES = Objective.REQUESTS, Objective.TOKENS, Objective.PRESSURE


@pytest.mark.parametrize("seed", range(2))
def test_the_arrays_say_what_the_instance_says(seed):
    draw = random.Random(seed)
    for _ in range(50):
        instance = load_instance(random_split_problem(draw, objectives=OBJECTIVES))
        columns = instance.columns
        rows = [option for options in instance.options for option in options]
        assert columns.size.tolist() == [o.size for o in rows]
        assert columns.keep.tolist() == [o.keep for o in rows]
        assert columns.keeps == any(o.keep for o in rows)
        assert columns.loads.tolist() == [[list(kind) for kind in o.loads] for o in rows]
        assert columns.type_of.tolist() == [instance.type_at(g) for g in range(instance.g)]
        assert (np.diff(columns.memory) <= 0).all()
        for j in range(instance.n):
            assert columns.allowed[j].all() == instance.anywhere(j)
        for domain, gpus in enumerate(columns.domains.tolist()):
            held = [g for g in gpus if g < instance.g]
            assert held == np.flatnonzero(columns.domain_of == domain).tolist()


@pytest.mark.parametrize("seed", range(2))
def test_options_in_rows_are_padded_to_one_row_per_model(seed):
    draw = random.Random(seed)
    for _ in range(30):
        instance = load_instance(random_split_problem(draw))
        columns = instance.columns
        wide = padded(columns.starts, columns.shards, -1.0)
        for j, options in enumerate(instance.options):
            many = len(options)
            assert wide[j, :many].tolist() == [float(o.shards) for o in options]
            assert (wide[j, many:] == -1).all()
            for at, option in enumerate(options):
                row = int(columns.starts[j]) + at
                unsure = instance.is_uneven(j) and option.copies > 1
                assert columns.sure[row] == (0.0 if unsure else option.load)
                assert columns.least[row] in (option.size + max(1, option.keep), math.inf)


@pytest.mark.parametrize("seed", range(2))
def test_options_are_on_kinds_with_gpus_of_wide_enough_link_domains(seed):
    draw, ruled_out = random.Random(seed), 0
    for _ in range(30):
        instance = load_instance(random_split_problem(draw))
        columns = instance.columns
        kinds = columns.kinds
        assert [kinds[kind] for kind in columns.kind_of] == [
            (instance.type_at(g), memory) for g, memory in enumerate(instance.memory)
        ]
        found = columns.on_kinds(columns.kind_of, np.array(instance.degree))
        for row, j in enumerate(columns.model.tolist()):
            gpus = np.flatnonzero(columns.allowed[j])
            wide = [
                g for g in gpus
                if (columns.domain_of[gpus] == columns.domain_of[g]).sum() >= instance.degree[row]
            ]  # fmt: skip
            assert set(np.flatnonzero(found[row])) == set(columns.kind_of[wide])
            ruled_out += not found[row].all()
    assert ruled_out > 10


@settings(max_examples=100, deadline=None)
@given(byte_problems())
def test_a_model_alone_is_as_hot_as_it_is_alone(problem):
    columns = load_instance(problem).columns
    for j in range(columns.n):
        free = columns.memory[0] - columns.size[j]
        fits = free >= max(1, columns.keep[j])
        assert columns.alone[j] == (columns.load[j] / free if fits else math.inf)


def test_the_level_by_hand():
    # Two models of no weight: 9 alone on one GPU of 10 bytes, the rest at 1 / 10.
    apart = load_instance(byte_problem([10, 10], [(0, 9.0), (0, 1.0)]))
    assert fluid_level(apart.columns) == apart.load[1] / 10
    # Equal models share all: 8 / (40 - 8).
    even = load_instance(byte_problem([10] * 4, [(2, 2.0)] * 4))
    assert fluid_level(even.columns) == pytest.approx(4 * even.load[0] / 32)
