"""The loop of column generation ends where it is told to, and says what share is needed."""

import math
from dataclasses import dataclass, field

import pytest

from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.master import generate


@dataclass
class Duals:
    """The share that a master was asked for, and nothing else."""

    share: float


@dataclass
class FakeMaster:
    """Needs a smaller share each time it is solved."""

    shares: list
    limits: list = field(default_factory=list)

    def solve(self, limit):
        self.limits.append(limit)
        return Duals(self.shares.pop(0)) if self.shares else None


@dataclass
class FakePricing:
    """Finds so many columns, and is content with a share."""

    columns: int = 10**6
    content: float = -1.0
    asked: list = field(default_factory=list)

    def settled(self, share):
        self.asked.append(share)
        return share <= self.content

    def extend(self, *_asked):
        self.columns -= 1
        return self.columns >= 0


def test_it_ends_once_no_column_is_missing():
    master, pricing = FakeMaster([4.0, 3.0, 2.0, 1.0]), FakePricing(columns=2)
    assert generate(master, pricing, 100, Watch()) == 2.0
    assert master.shares == [1.0]
    assert master.limits == [math.inf] * 3


def test_it_ends_once_the_share_will_do():
    master, pricing = FakeMaster([4.0, 3.0, 2.0, 1.0]), FakePricing(content=3.0)
    assert generate(master, pricing, 100, Watch()) == 3.0
    assert pricing.asked == [math.inf, 4.0, math.inf, 3.0]


def test_what_is_settled_before_is_not_solved():
    master, pricing = FakeMaster([4.0]), FakePricing(content=math.inf)
    assert generate(master, pricing, 100, Watch()) == math.inf
    assert master.limits == []


@pytest.mark.parametrize(("rounds", "share"), [(0, math.inf), (1, 4.0), (2, 3.0)])
def test_rounds_are_limited(rounds, share):
    master = FakeMaster([4.0, 3.0, 2.0, 1.0])
    assert generate(master, FakePricing(), rounds, Watch()) == share
    assert len(master.limits) == rounds


def test_a_master_without_a_solution_ends_it_with_the_last_share():
    assert generate(FakeMaster([4.0]), FakePricing(), 100, Watch()) == 4.0
    assert generate(FakeMaster([]), FakePricing(), 100, Watch()) == math.inf


def test_an_interrupt_ends_it_before_and_after_a_solution():
    watch = Watch()
    watch.interrupt()
    master = FakeMaster([4.0])
    assert generate(master, FakePricing(), 100, watch) == math.inf
    assert master.limits == []

    late = Watch()

    class Interrupting(FakeMaster):
        def solve(self, limit):
            late.interrupt()
            return super().solve(limit)

    pricing = FakePricing()
    assert generate(Interrupting([4.0, 3.0]), pricing, 100, late) == 4.0
    assert pricing.columns == 10**6  # no column is priced any more


def test_the_master_may_take_what_time_is_left():
    master = FakeMaster([4.0])
    generate(master, FakePricing(columns=0), 100, Watch(50.0))
    assert 49 < master.limits[0] <= 50
