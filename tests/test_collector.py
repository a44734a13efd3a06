"""The garbage collector, paused while many objects are made."""

import gc

import pytest

from kvplace.collector import paused_collector


@pytest.fixture(autouse=True)
def nothing_kept():
    """Let the collector see what these tests keep from it, while one runs."""
    gc.unfreeze()
    yield
    gc.collect()
    gc.freeze()


def test_what_is_made_meanwhile_counts_as_old_and_is_still_collected():
    gc.collect()
    with paused_collector():
        assert not gc.isenabled()
        made = [[at] for at in range(150_000)]
        made.append(made)
    assert gc.isenabled()
    assert any(held is made for held in gc.get_objects(generation=2))
    assert not gc.get_freeze_count()
    del made
    assert gc.collect()


def test_what_a_program_keeps_from_the_collector_stays_kept():
    kept = [[]]
    gc.freeze()
    with paused_collector():
        made = [[at] for at in range(150_000)]
    assert not any(held is kept for held in gc.get_objects())
    del made


def test_few_objects_do_not_count_what_a_program_keeps(monkeypatch):
    # Counting goes through all of it, and a search pauses the collector many times.
    monkeypatch.setattr(gc, "get_freeze_count", lambda: pytest.fail("it was counted"))
    with paused_collector():
        pass
    assert gc.isenabled()
