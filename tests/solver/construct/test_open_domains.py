"""Copies of split models on open GPUs: whole domains are left for the widest."""

import pytest

from kvplace.bench.clusters import cluster
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.construct.open_domains import OpenDomains
from kvplace.solver.instance.door import load_instance


@pytest.fixture(scope="module")
def instance():
    return load_instance(cluster(300, 96, pinned=0, seed=1))


def test_the_widest_first_fill_domains_of_eight_without_a_rest(instance):
    board = Assignment(instance)
    domains = OpenDomains(board, {0: range(instance.g)})
    split = [(j, row[0]) for j, row in enumerate(instance.options) if row[0].degree > 1]
    split.sort(key=lambda item: -item[1].degree)
    held = 0
    for j, option in split:
        if held + option.shards > instance.g:
            break
        assert domains.place(j, option, 0)
        held += option.shards
    assert held > instance.g - 8
    taken = [g for copies in board.where for copy in copies for g in copy]
    assert len(taken) == len(set(taken)) == held
    of = instance.columns.domain_of
    assert all(len(set(of[list(copy)])) == 1 for copies in board.where for copy in copies)


def test_what_finds_no_domain_is_not_placed_and_takes_no_gpu(instance):
    board = Assignment(instance)
    domains = OpenDomains(board, {0: range(7)})
    j, option = next((j, row[0]) for j, row in enumerate(instance.options) if row[0].degree == 8)
    assert not domains.place(j, option, 0)
    assert not board.where[j]
    j, option = next((j, row[0]) for j, row in enumerate(instance.options) if row[0].degree == 4)
    assert domains.place(j, option, 0)


def test_copies_under_a_rule_go_to_other_zones_or_nowhere(instance):
    board = Assignment(instance)
    several = [
        (j, option) for j, row in enumerate(instance.options) for option in row
        if option.copies > 1 and option.degree > 1
    ]  # fmt: skip
    j, option = several[0]
    zones = instance.blueprints[0].labels
    assert OpenDomains(board, {0: range(instance.g)}).place(j, option, 0)
    assert len({zones[copy[0]] for copy in board.where[j]}) == min(option.copies, 3)
    board.apply([(j, None, ())])
    one = [g for g in range(instance.g) if zones[g] == zones[0]]
    assert not OpenDomains(board, {0: one}).place(j, option, 0)
    assert not board.where[j]
