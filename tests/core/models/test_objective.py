"""What a load is, by hand, and what happens where its numbers are zero or missing."""

import math

import pytest

from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective, default_objective
from kvplace.errors import InputError

# 2 requests/s of 100 + 40 tokens; 0.5 s to the first token, 0.05 s for each further one.
# Latency of a request: 0.5 + 40 x 0.05 = 2.5 s.
CHAT = Model(
    name="chat",
    weights_bytes=10,
    demand=Demand(2.0, 100.0, 40.0),
    slo=SLO(ttft_seconds=0.5, tpot_seconds=0.05),
    kv_bytes_per_token=1000,
    kv_bytes_per_sequence=500,
)


@pytest.mark.parametrize(
    ("objective", "load"),
    [
        ("requests", 0.8),  # 2 / 2.5
        ("tokens", 5_600_000.0),  # 2 x 140 x 1000 / 0.05
        # 2 x 2.5 s x (1000 x (100 + 40 / 2) + 500) bytes
        ("occupancy", 602_500.0),
    ],
)
def test_loads_by_hand(objective, load):
    assert Objective(objective).load(CHAT) == pytest.approx(load, rel=1e-15)


def test_a_given_latency_counts_for_requests_only():
    given = Model(
        "chat", 10, CHAT.demand, SLO(0.5, 0.05, latency_seconds=4.0), CHAT.kv_bytes_per_token, 500
    )
    assert given.latency_seconds == 4.0
    assert Objective.REQUESTS.load(given) == 0.5
    assert Objective.TOKENS.load(given) == Objective.TOKENS.load(CHAT)
    assert Objective.OCCUPANCY.load(given) == Objective.OCCUPANCY.load(CHAT)


def test_latency_needs_all_of_its_parts():
    for slo, demand in [
        (SLO(tpot_seconds=0.1), Demand(1.0, 1.0, 1.0)),
        (SLO(ttft_seconds=0.1), Demand(1.0, 1.0, 1.0)),
        (SLO(ttft_seconds=0.1, tpot_seconds=0.1), Demand(1.0, 1.0)),
    ]:
        assert Model("m", 1, demand, slo).latency_seconds is None


@pytest.mark.parametrize("objective", Objective)
def test_a_model_without_requests_has_no_load_and_needs_no_fields(objective):
    standby = Model("standby", 10, Demand(0.0))
    assert objective.missing(standby) == []
    assert objective.load(standby) == 0.0


@pytest.mark.parametrize(
    ("objective", "missing"),
    [
        ("requests", ["slo.latency"]),
        (
            "tokens",
            ["kv_bytes_per_token", "demand.prompt_tokens", "demand.output_tokens", "slo.tpot"],
        ),
        (
            "occupancy",
            [
                "kv_bytes_per_token",
                "demand.prompt_tokens",
                "demand.output_tokens",
                "slo.tpot",
                "slo.ttft",
            ],
        ),
    ],
)
def test_every_missing_field_is_named(objective, missing):
    bare = Model("bare", 10, Demand(1.0))
    assert Objective(objective).missing(bare) == missing
    with pytest.raises(InputError) as error:
        Objective(objective).load(bare)
    assert [fault.path for fault in error.value.faults] == [f"bare.{name}" for name in missing]


@pytest.mark.parametrize(
    ("objective", "slo", "field"),
    [
        ("requests", SLO(latency_seconds=0.0), "slo.latency"),
        ("requests", SLO(ttft_seconds=0.0, tpot_seconds=0.0), "slo.latency"),
        ("tokens", SLO(ttft_seconds=1.0, tpot_seconds=0.0), "slo.tpot"),
    ],
)
def test_an_objective_of_zero_seconds_that_divides_is_refused(objective, slo, field):
    model = Model("m", 1, Demand(1.0, 1.0, 1.0), slo, kv_bytes_per_token=1)
    with pytest.raises(InputError, match="must be above 0s") as error:
        Objective(objective).load(model)
    assert error.value.faults[0].path == f"m.{field}"


def test_occupancy_does_not_divide_so_zero_seconds_are_zero_load():
    model = Model("m", 1, Demand(1.0, 1.0, 1.0), SLO(0.0, 0.0), kv_bytes_per_token=1)
    assert Objective.OCCUPANCY.load(model) == 0.0


def test_zero_tokens_and_zero_kv_are_zero_load():
    empty = Model("m", 1, Demand(1.0, 0.0, 0.0), SLO(1.0, 1.0), kv_bytes_per_token=7)
    assert Objective.TOKENS.load(empty) == 0.0
    assert Objective.OCCUPANCY.load(empty) == 0.0
    stateless = Model("m", 1, Demand(1.0, 5.0, 5.0), SLO(1.0, 1.0), kv_bytes_per_token=0)
    assert Objective.OCCUPANCY.load(stateless) == 0.0


def test_a_load_that_overflows_is_refused():
    model = Model("m", 1, Demand(1e308), SLO(latency_seconds=1e-10))
    with pytest.raises(InputError, match="overflows"):
        Objective.REQUESTS.load(model)


def test_the_default_is_occupancy_where_all_models_allow_it():
    bare = Model("bare", 10, Demand(1.0), SLO(latency_seconds=6.0))
    standby = Model("standby", 10, Demand(0.0))
    assert default_objective([CHAT]) is Objective.OCCUPANCY
    assert default_objective([CHAT, standby]) is Objective.OCCUPANCY
    assert default_objective([CHAT, bare]) is Objective.REQUESTS


def test_units():
    assert [o.memory_unit_bytes for o in Objective] == [2**30, 1, 1, 1]
    assert [o.unit for o in Objective] == ["1/(s² GiB)", "1/s²", "", ""]
    assert all(math.isfinite(o.load(CHAT)) for o in Objective)
