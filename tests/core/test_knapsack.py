"""The checker's knapsack against every set, by each of its ways to a verdict."""

import random
from collections import Counter
from itertools import product
from operator import le

import pytest

from kvplace.core.certificates import knapsack, relaxations
from kvplace.core.certificates.knapsack import TooLarge, set_above
from kvplace.core.certificates.offers import SCALE_BITS, Bin, Offer
from kvplace.core.certificates.room_tables import pair_table

WAYS = {
    "least sizes": {},
    "sets": {"MAX_ENTRIES": 0},
    "sets and tables": {"MAX_ENTRIES": 0, "PLAIN_STEPS": 0},
    "tables over few levels first": {"GRID": 8, "PAIRED": 5},
}


def take(monkeypatch, way):
    """Make the checker go one of its ways."""
    for name, value in WAYS[way].items():
        room = relaxations if hasattr(relaxations, name) else knapsack
        monkeypatch.setattr(room, name, value)


def kind(memory, worth=0):
    """A GPU of that memory."""
    return Bin(((memory << SCALE_BITS) - 1, memory), worth, f"{memory} bytes")


def dearest(groups, limits):
    """The most that a set is priced which keeps all limits, by every sum of sizes there is."""
    sums = {(0,) * len(limits): 0}
    for offers in groups:
        further = dict(sums)
        for held, price in sums.items():
            for offer in offers:
                total = tuple(map(sum, zip(held, offer.sizes, strict=True)))
                if all(map(le, total, limits)):
                    further[total] = max(further.get(total, 0), price + offer.price)
        sums = further
    return max(sums.values())


def draw_groups(draw, memory):
    """A few groups of offers, some alike, some whose KV to be left is what binds."""
    groups = []
    for _ in range(draw.randint(1, 7)):
        offers = []
        for _ in range(draw.choice([1, 1, 1, 2, 3])):
            size = draw.randint(0, memory << SCALE_BITS)
            if draw.random() < 0.5:
                size = (size >> SCALE_BITS) << SCALE_BITS
            kept = (size >> SCALE_BITS) + draw.choice([0, 0, draw.randint(0, memory)])
            offers.append(Offer(draw.randint(1, 9) * draw.choice([1, 6]), (size, kept)))
        groups.append(tuple(offers))
        if draw.random() < 0.3:
            groups.append(groups[0])
    return groups


@pytest.mark.parametrize("way", WAYS)
def test_a_worth_holds_exactly_from_the_dearest_set_on(way, monkeypatch):
    take(monkeypatch, way)
    draw = random.Random(way)
    for _ in range(120):
        memory = draw.choice([3, 10, 1000])
        groups = draw_groups(draw, memory)
        best = dearest(groups, kind(memory).limits)
        whole = draw.choice([0, 3 * memory << SCALE_BITS])
        assert set_above(groups, [kind(memory, best)], whole=whole) == ""
        if best:
            assert "priced above" in set_above(groups, [kind(memory, best - 1)], whole=whole)


def test_thousands_of_like_sets_are_settled_in_few_steps(monkeypatch):
    # Thirty models of one size per price: a search that sees each set by itself never ends.
    monkeypatch.setattr(knapsack, "MAX_ENTRIES", 0)
    monkeypatch.setattr(knapsack, "MAX_STEPS", 20_000)
    size = (10 << SCALE_BITS) + 1
    groups = [(Offer(1_000_000 + j, (size + j, 10)),) for j in range(30)]
    assert set_above(groups, [kind(100, 9 * 1_000_029)]) == ""


@pytest.mark.parametrize("way", WAYS)
def test_any_number_of_limits_holds_together(way, monkeypatch):
    take(monkeypatch, way)
    draw = random.Random(f"{way} in several dimensions")
    for _ in range(200):
        limits = tuple(draw.choice([0, 7, 100, 1000]) for _ in range(draw.randint(1, 5)))
        groups = [
            tuple(
                Offer(draw.randint(1, 30), tuple(draw.randint(0, most) for most in limits))
                for _ in range(draw.choice([1, 1, 2]))
            )
            for _ in range(draw.randint(1, 7))
        ]
        best = dearest(groups, limits)
        assert set_above(groups, [Bin(limits, best, "it")]) == ""
        if best:
            assert "priced above" in set_above(groups, [Bin(limits, best - 1, "it")])


def test_shards_that_fit_a_kind_in_one_dimension_alone_count_nothing_there():
    # Three hundred shards of nearly one size, more than are searched one by one: dear ones, which
    # the small kind cannot hold in the second dimension, and cheap ones.
    many = [(Offer(100 + at % 3, (1_000 + at, 3_000)),) for at in range(300)]
    many += [(Offer(10, (1_000 + at, 1_000)),) for at in range(300)]
    small, large = Bin((2_500, 2_500), 20, "small"), Bin((5_000, 9_000), 408, "large")
    assert not set_above(many, [small, large])
    assert "small" in set_above(many, [small._replace(worth=19), large])
    assert set_above(many, [small, large._replace(worth=250)])


def test_a_table_over_both_limits_settles_what_neither_limit_does(monkeypatch):
    # Some take three quarters of one limit, others of the other: a GPU holds one of each, where
    # either limit alone lets it hold four of one. No search is allowed.
    monkeypatch.setattr(knapsack, "MAX_STEPS", 0)
    many = [(Offer(100, (3_000 + at, 1_000 - at)),) for at in range(200)]
    many += [(Offer(100, (1_000 - at, 3_000 + at)),) for at in range(200)]
    small, large = Bin((3_250, 3_250), 100, "small"), Bin((4_100, 4_100), 200, "large")
    assert set_above(many, [small, large]) == ""
    assert isinstance(set_above(many, [small, large._replace(worth=199)]), TooLarge)
    assert isinstance(set_above(many, [small._replace(worth=99), large]), TooLarge)
    monkeypatch.setattr(relaxations, "TABLE_STEPS", 1)  # a table that costs too much is not made
    assert isinstance(set_above(many, [small, large]), TooLarge)


def dearest_by_hand(items, rooms):
    """The highest price of any number of items within two rooms."""
    best = 0
    for price, first, second in items:
        if first <= rooms[0] and second <= rooms[1]:
            left = rooms[0] - first, rooms[1] - second
            best = max(best, price + dearest_by_hand(items, left))
    return best


def test_a_table_over_both_limits_holds_the_dearest_sets():
    draw = random.Random("pairs")
    for _ in range(60):
        rooms = draw.randint(0, 6), draw.randint(0, 6)
        items = [
            (draw.randint(1, 30), first, second)
            for first, second in ((draw.randint(0, 5), draw.randint(0, 5)) for _ in range(4))
            if first or second
        ]
        table = pair_table(items, rooms, 10_000)
        for first, second in product(range(rooms[0] + 1), range(rooms[1] + 1)):
            assert table[second][first] == dearest_by_hand(items, (first, second))


def test_levels_are_those_that_prices_were_made_for(monkeypatch):
    """Of 59, three shards of 20 seem to fit on ten levels of 60, and two on ten of 100."""
    for name in ("MAX_ENTRIES", "MAX_STEPS"):
        monkeypatch.setattr(knapsack, name, 0)
    monkeypatch.setattr(relaxations, "GRID", 10)
    shards = [(Offer(100, (20,)),)] * 30
    assert isinstance(set_above(shards, [Bin((59,), 200, "small")]), TooLarge)
    assert set_above(shards, [Bin((59,), 200, "small")], whole=99) == ""
    assert set_above(shards, [Bin((59,), 199, "small")], whole=99)


def test_offers_that_no_dear_set_holds_are_left_out_before_sets_grow():
    """Room of 100 holds two shards for 100 each: with a cheap one in it, a set is priced 101."""
    dear, cheap = (Offer(100, (50,)),), [(Offer(1, (60 + at,)),) for at in range(9)]
    alike = Counter({dear: 2, **dict.fromkeys(cheap, 1)})
    assert knapsack._worthwhile(alike, 0, 100, 199) == {dear: 2, cheap[0]: 1}
    assert knapsack._worthwhile(alike, 0, 100, 99).total() == 11
    assert knapsack._worthwhile(alike, 0, 100, 200) == {}
