"""Step times: hand-derived values, and what must hold for every model and GPU."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.core.models.architecture import Architecture, Format
from kvplace.errors import InputError
from kvplace.forecast.step_time import StepTime, decode_seconds, prefill_seconds
from kvplace.forecast.steps.roofline import CacheReads, rooflines, speed_of, step_time

# Llama-3.1-8B: 8.03e9 parameters, 525e6 of them the input embedding.
LLAMA = Architecture(
    layers=32,
    hidden_size=4096,
    parameters=8_030_261_248,
    active_parameters=7_504_924_672,
    vocabulary_size=128_256,
    heads=32,
    head_size=128,
    kv_heads=8,
    intermediate_size=14_336,
    embedding_parameters=525_336_576,
)
READS = CacheReads(131_072)

times = st.builds(
    StepTime,
    fixed_seconds=st.floats(0, 0.01),
    dense_seconds=st.floats(0, 0.05),
    experts_seconds=st.floats(0, 0.05),
    expert_share=st.floats(0.01, 1),
    token_seconds=st.floats(0, 1e-3),
    kv_token_seconds=st.floats(0, 1e-6),
    window_token_seconds=st.floats(0, 1e-6),
    window_tokens=st.floats(0, 8192),
    sequence_seconds=st.floats(0, 1e-4),
    attention_seconds=st.floats(0, 1e-9),
    link_seconds=st.floats(0, 1e-5),
    sharpness=st.floats(1, 4),
)


def test_a_step_of_one_sequence_by_hand():
    plain = StepTime(0.001, 0.010, 0.0, 0.0, 0.003, 1e-6, sharpness=1.0)
    # 1 ms fixed + 10 ms reading + 3 ms multiplying + 100 tokens x 1 us.
    assert decode_seconds(plain, 1, 100) == pytest.approx(0.0141)
    # The smooth maximum at s = 2 of 3 and 4 is 5.
    sharp = StepTime(0.0, 0.003, 0.0, 0.0, 0.004, 0.0, sharpness=2.0)
    assert decode_seconds(sharp, 1, 100) == pytest.approx(0.005)


def test_experts_are_read_as_far_as_tokens_touch_them():
    experts = StepTime(0.0, 0.0, 0.008, 0.25, 0.0, 0.0)
    assert decode_seconds(experts, 1, 0) == pytest.approx(0.002)
    assert decode_seconds(experts, 2, 0) == pytest.approx(0.008 * (1 - 0.75**2))


def test_a_window_bounds_what_is_read():
    window = StepTime(0, 0, 0, 0, 0, 0, window_token_seconds=1e-6, window_tokens=512)
    assert decode_seconds(window, 1, 400) == pytest.approx(400e-6)
    assert decode_seconds(window, 1, 4000) == pytest.approx(512e-6)


def test_a_prefill_attends_to_every_earlier_token_and_skips_what_is_cached():
    # 100 tokens: 100 x 100 / 2 pairs; with 60 cached 40 new ones attend to 60 + 20 each.
    attention = StepTime(0, 0, 0, 0, 0, 0, attention_seconds=1e-6)
    assert prefill_seconds(attention, 100) == pytest.approx(5000e-6)
    assert prefill_seconds(attention, 100, 60) == pytest.approx(40 * 80 * 1e-6)
    assert prefill_seconds(attention, 100, 100) == 0


def test_an_8b_model_on_an_h100_takes_what_was_measured():
    # vLLM on one H100 gives about 7 ms per token for one sequence of Llama-3.1-8B in BF16, and
    # an H200 is faster by its bandwidth.
    h100, h200 = speed_of("H100-SXM-80GB"), speed_of("h200-sxm-141gb")
    assert h100 is not None
    assert h200 is not None
    slow = decode_seconds(step_time(LLAMA, READS, h100), 1, 1024)
    fast = decode_seconds(step_time(LLAMA, READS, h200), 1, 1024)
    assert 0.006 < slow < 0.008
    assert 0.6 * slow < fast < slow


def test_two_ranks_are_faster_and_talk():
    h100 = speed_of("H100-SXM-80GB")
    assert h100 is not None
    one = step_time(LLAMA, READS, h100)
    two = step_time(LLAMA, READS._replace(bytes_per_token=65_536), h100, 2)
    assert two.dense_seconds == pytest.approx(one.dense_seconds / 2)
    assert two.link_seconds > one.link_seconds == 0
    assert decode_seconds(two, 8, 1024) < decode_seconds(one, 8, 1024)


def test_a_format_that_a_gpu_lacks_is_multiplied_in_16_bits():
    a100, h100 = speed_of("A100-SXM-80GB"), speed_of("H100-SXM-80GB")
    assert a100 is not None
    assert h100 is not None
    assert a100.flops_of(Format.FP8) == a100.flops_of(Format.BF16)
    assert h100.flops_of(Format.FP8) == 2 * h100.flops_of(Format.BF16)
    assert h100.flops_of(Format.FP4) == h100.flops_of(Format.BF16)


def test_an_unknown_gpu_has_no_speed_and_each_known_one_has_constants_of_the_table():
    assert speed_of("unknown") is None
    l40s = speed_of("L40S-48GB")
    assert l40s is not None
    assert l40s.roofline in rooflines().values()


def test_types_with_kernel_tables_have_constants_of_their_own():
    common = rooflines()["any"]
    for name in ("A100-SXM-80GB", "L40S-48GB", "RTX-PRO-6000-Server-96GB", "GB200-186GB"):
        speed = speed_of(name)
        assert speed is not None
        assert speed.roofline == rooflines()[name]
        assert speed.roofline != common
        assert 0.7 < speed.roofline.memory / common.memory < 1.1
    l40s, h100 = speed_of("L40S-48GB"), speed_of("H100-SXM-80GB")
    assert l40s is not None
    assert h100 is not None
    assert h100.roofline == common
    assert l40s.roofline.links < common.links / 2  # over PCIe


@given(times, st.floats(1, 512), st.floats(0, 100_000))
def test_more_sequences_and_longer_ones_never_take_less(t, batch, context):
    base = decode_seconds(t, batch, context)
    assert math.isfinite(base)
    slack = 1e-9 * base
    assert decode_seconds(t, batch + 1, context) >= base - slack
    assert decode_seconds(t, batch, context + 1) >= base - slack


@given(times, st.floats(1, 100_000), st.floats(0, 1))
def test_a_cached_prefix_never_makes_a_prefill_longer(t, prompt, part):
    whole = prefill_seconds(t, prompt)
    assert prefill_seconds(t, prompt, part * prompt) <= whole * (1 + 1e-9)


def test_a_shape_that_contradicts_itself_is_refused():
    with pytest.raises(InputError) as error:
        replace(LLAMA, active_parameters=9 * 10**9)
    assert "active_parameters" in str(error.value)
    with pytest.raises(InputError, match="8 of 4 experts"):
        replace(LLAMA, experts=4, experts_per_token=8)
    with pytest.raises(InputError, match="at least 0"):
        replace(LLAMA, layers=-1)


def test_active_parts_of_a_mixture_of_experts():
    moe = Architecture(
        layers=10, hidden_size=8, parameters=1000, active_parameters=300, experts=8,
        experts_per_token=2, expert_parameters=800,
    )  # fmt: skip
    assert moe.active_expert_parameters == 200
    assert moe.dense_parameters == 100
