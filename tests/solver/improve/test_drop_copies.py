"""Copies stopped because they bring nothing, or because a target makes them needless."""

import pytest

from boards import assert_kept_up, drawn_boards
from kvplace.solver.clock import Watch
from kvplace.solver.improve.descent import COPY_GAIN
from kvplace.solver.improve.drop_copies import drop_copies, drop_to_targets


def copied(seed, count):
    """Yield valid assignments in which some model has more copies than it needs."""
    for draw, problem, board in drawn_boards(seed, 150, gpus=2, valid=True):
        fewest = [min(o.copies for o in options) for options in board.instance.options]
        more = [j for j, copies in enumerate(board.where) if len(copies) > fewest[j]]
        if more:
            yield draw, problem, board, fewest, more
            count -= 1
            if not count:
                return


def hottest_of(board, j):
    return max(board.pressure[g] for copy in board.where[j] for g in copy)


def test_copies_that_bring_nothing_go_and_nothing_gets_hotter_than_allowed():
    dropped = 0
    for _, _, board, fewest, _ in copied(1, 40):
        before, worst = [len(copies) for copies in board.where], board.worst()
        flaws = board.flaws
        dropped += drop_copies(board, Watch())
        after = [len(copies) for copies in board.where]
        assert all(few <= now <= then for few, now, then in zip(fewest, after, before, strict=True))
        assert board.worst() <= worst * (1 + 1e-12)
        assert board.flaws <= flaws
        assert_kept_up(board)
    assert dropped > 0


def test_nothing_is_dropped_once_the_time_is_up():
    for _, _, board, _, more in copied(2, 5):
        where = list(board.where)
        assert drop_copies(board, Watch(0.0)) == 0
        assert drop_to_targets(board, dict.fromkeys(more, 1e300), Watch(0.0)) == 0
        assert board.where == where


@pytest.mark.parametrize("part", [0.5, 1.0, 3.0])
def test_copies_go_as_long_as_their_models_gpus_stay_below_the_target(part):
    dropped = 0
    for _, _, board, fewest, more in copied(3, 40):
        targets = {j: hottest_of(board, j) * part for j in more}
        before = {j: len(board.where[j]) for j in more}
        gone = drop_to_targets(board, targets, Watch())
        dropped += gone
        assert gone == sum(before[j] - len(board.where[j]) for j in more)
        assert board.costs.broken <= 0
        for j, target in targets.items():
            assert len(board.where[j]) >= fewest[j]
            if len(more) == 1 and len(board.where[j]) < before[j]:
                assert hottest_of(board, j) <= target
            if len(more) == 1 and len(board.where[j]) > fewest[j]:
                assert all(above(board, j, copy, target) for copy in board.where[j])
        assert_kept_up(board)
    assert dropped > 0 or part < 1


def above(board, j, copy, target):
    """Whether one of the model's GPUs would be above the target, or a rule broken, without it."""
    now = board.option[j]
    options = board.instance.options[j]
    fewer = next(o for o in options if (o.degree, o.copies) == (now.degree, now.copies - 1))
    undo, _ = board.apply([(j, fewer, tuple(c for c in board.where[j] if c != copy))])
    found = hottest_of(board, j) > target or board.costs.broken > 0
    board.apply(undo)
    return found


def test_a_model_without_a_target_keeps_its_copies():
    for _, _, board, _, _ in copied(4, 10):
        where = list(board.where)
        assert drop_to_targets(board, {}, Watch()) == 0
        assert board.where == where
    assert 0 < COPY_GAIN < 1
