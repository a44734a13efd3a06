"""What a request holds of the cache: windows, blocks, and what an engine reserves for one."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.kv_cache import SlidingWindow, limited_mean, most_tokens_kept
from kvplace.core.models.launch import Launch
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.errors import InputError

GPT_OSS = Model(
    # gpt-oss-120b: 36 layers of 2,048 B a token, every other one with a window of 128.
    "gpt-oss-120b",
    65 * 10**9,
    Demand(1.0, 1000.0, 200.0),
    SLO(ttft_seconds=1.0, tpot_seconds=0.02),
    kv_bytes_per_token=73_728,
    sliding_windows=(SlidingWindow(128, 36_864),),
    kv_block_tokens=16,
    max_model_len=131_072,
    launch=Launch(max_num_batched_tokens=8192),
    kv_heads=8,
)


@given(
    mean=st.floats(1, 1e5),
    variation=st.floats(0, 9),
    most=st.floats(1, 1e6),
)
def test_a_limited_mean_is_below_both(mean, variation, most):
    found = limited_mean(mean, variation, most)
    assert 0 <= found <= min(mean, most) * (1 + 1e-9)
    assert found >= limited_mean(mean, variation, most / 2)


@pytest.mark.parametrize(("mean", "variation", "most"), [(1000, 1.0, 128), (1000, 0.5, 1024)])
def test_a_limited_mean_is_that_of_drawn_lengths(mean, variation, most):
    spread = math.sqrt(math.log1p(variation))
    draw = random.Random(0)
    lengths = (draw.lognormvariate(math.log(mean) - spread**2 / 2, spread) for _ in range(100_000))
    drawn = sum(min(one, most) for one in lengths) / 100_000
    assert limited_mean(mean, variation, most) == pytest.approx(drawn, rel=0.01)


def test_lengths_that_do_not_vary_are_limited_exactly():
    assert limited_mean(1000, 0, 128) == 128
    assert limited_mean(100, 0, 128) == 100
    assert limited_mean(0, 1, 128) == 0


def test_an_engine_reserves_the_window_and_a_step():
    # vLLM: 8,192 blocks of all tokens; in the window 127 + 8,192 tokens, and a block more.
    assert most_tokens_kept(131_072, 8192, 16, *GPT_OSS.sliding_windows) == 521 * 16
    assert GPT_OSS.least_kv_bytes(1) == 36_864 * (131_072 + 521 * 16)
    assert GPT_OSS.least_kv_bytes(2) == GPT_OSS.least_kv_bytes(1) / 2


def test_a_short_request_is_rounded_up_to_blocks():
    assert GPT_OSS.request_bytes(100) == 73_728 * 112


def test_a_step_that_is_not_known_limits_nothing():
    assert most_tokens_kept(5000, 0, 16, *GPT_OSS.sliding_windows) == 5008


def test_the_load_counts_windows_and_ends_of_blocks():
    demand = Demand(1.0, 1000.0, 200.0, prompt_cv=0.0, output_cv=0.0)
    held = GPT_OSS.mean_kv_bytes(demand)
    assert held == pytest.approx(36_864 * 1107.5 + 36_864 * 143, rel=1e-3)
    assert Objective.OCCUPANCY.load(GPT_OSS, demand) == (1.0 + 200 * 0.02) * held
    spread = GPT_OSS.mean_kv_bytes(GPT_OSS.demand)
    assert spread < held  # some requests are shorter than the window


def test_nothing_stated_counts_as_before():
    model = Model("m", 1, GPT_OSS.demand, kv_bytes_per_token=1000, kv_bytes_per_sequence=5)
    assert model.mean_kv_bytes(model.demand) == 1000 * (1000.0 + 200.0 / 2) + 5


def test_windows_cannot_take_more_than_a_token():
    with pytest.raises(InputError, match="are more than all its kv_bytes_per_token"):
        Model("m", 1, Demand(0.0), kv_bytes_per_token=5, sliding_windows=(SlidingWindow(9, 6),))
    with pytest.raises(InputError, match="at least 1"):
        SlidingWindow(0, 0)
    with pytest.raises(InputError, match="kv_block_tokens"):
        Model("m", 1, Demand(0.0), kv_block_tokens=0)
