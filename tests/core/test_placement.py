"""Placements and their differences."""

from array import array
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.core.placement import Assigned, Migration, Placement, Replica

GROUPS = st.lists(st.sampled_from("wxyz"), min_size=1, max_size=2, unique=True).map(tuple)
REPLICAS = st.builds(Replica, st.sampled_from("abc"), st.integers(0, 5), GROUPS)
PLACEMENTS = st.lists(REPLICAS, max_size=8).map(lambda rows: Placement(tuple(rows)))


def test_placements_are_equal_whatever_the_order():
    one, two = Replica("a", 0, ("x",)), Replica("b", 0, ("y",))
    assert Placement((one, two)) == Placement((two, one))
    assert hash(Placement((one, two))) == hash(Placement((two, one)))
    assert Placement.single({"b": "y", "a": "x"}) == Placement((one, two))
    assert list(Placement((two, one))) == [one, two]
    assert len(Placement((two, one))) == 2


def test_ranks_are_not_sorted():
    assert Replica("a", 0, ("y", "x")) != Replica("a", 0, ("x", "y"))


def test_by_gpu_lists_a_split_replica_on_each_of_its_gpus():
    split, plain = Replica("a", 0, ("x", "y")), Replica("b", 0, ("x",))
    assert Placement((split, plain)).by_gpu() == {"x": [split, plain], "y": [split]}


def test_replicas_of_some_models_are_found_in_order_in_either_form():
    assigned = Placement(Assigned(["b", "c", "a"], ["x", "y"], array("q", [0, 1, 0])))
    listed = Placement(tuple(assigned))
    for placement in (assigned, listed):
        assert placement.of_models({"a", "b", "unknown"}) == [
            Replica("a", 0, ("x",)),
            Replica("b", 0, ("x",)),
        ]
        assert placement.of_models(()) == []


def test_difference_by_hand():
    before = Placement(
        (
            Replica("stays", 0, ("x",)),
            Replica("moves", 0, ("x",)),
            Replica("stops", 0, ("y",)),
            Replica("grows", 0, ("z",)),
            Replica("renumbered", 0, ("x",)),
            Replica("renumbered", 1, ("y",)),
        )
    )
    after = Placement(
        (
            Replica("stays", 0, ("x",)),
            Replica("moves", 0, ("y",)),
            Replica("starts", 0, ("x",)),
            Replica("grows", 0, ("y",)),
            Replica("grows", 1, ("z",)),
            Replica("renumbered", 0, ("y",)),
            Replica("renumbered", 1, ("x",)),
        )
    )
    changes = before.difference(after)
    assert changes == [
        Migration("grows", (), ("y",)),
        Migration("moves", ("x",), ("y",)),
        Migration("starts", (), ("x",)),
        Migration("stops", ("y",), ()),
    ]
    assert [change.kind for change in changes] == ["start", "move", "start", "stop"]


@settings(max_examples=100, deadline=None)
@given(PLACEMENTS, PLACEMENTS)
def test_a_difference_applied_gives_the_other_and_touches_no_more_than_needed(before, after):
    old = Counter((r.model, r.gpus) for r in before)
    new = Counter((r.model, r.gpus) for r in after)
    changes = before.difference(after)
    moved = old.copy()
    for change in changes:
        if change.source:
            assert moved[change.model, change.source] > 0
            moved[change.model, change.source] -= 1
        if change.target:
            moved[change.model, change.target] += 1
    assert +moved == +new
    least = 0
    for model in "abc":
        gone = sum(c for (m, _), c in (old - new).items() if m == model)
        come = sum(c for (m, _), c in (new - old).items() if m == model)
        least += max(gone, come)
    assert len(changes) == least


@settings(max_examples=100, deadline=None)
@given(PLACEMENTS, PLACEMENTS)
def test_the_way_back_mirrors_the_way_there(before, after):
    def key(change):
        return (change.model, change.source, change.target)

    there = sorted(before.difference(after), key=key)
    back = [Migration(c.model, c.target, c.source) for c in after.difference(before)]
    assert there == sorted(back, key=key)
    assert before.difference(before) == []
