"""Bytes, durations and rates: read with their unit, never guessed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.errors import UnitError
from kvplace.units import (
    GIB,
    format_bytes,
    format_percent,
    format_seconds,
    parse_bytes,
    parse_duration,
    parse_rate,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0B", 0), ("1B", 1), ("1kB", 1000), ("1KB", 1000), ("1KiB", 1024), ("1Ki", 1024),
        ("1.5MB", 1_500_000), ("1MiB", 2**20), ("1Mi", 2**20), ("1GB", 10**9), ("1GiB", 2**30),
        (" 1 Gi ", 2**30), ("1TB", 10**12), ("1TiB", 2**40), ("1Ti", 2**40), ("1024TiB", 2**50),
        ("14.958GiB", 16061030203), ("1e3B", 1000), (".5KiB", 512), ("+2B", 2), ("0.4B", 0),
        ("0.5B", 0), ("1.5B", 2), ("1e-999B", 0),
    ],
)  # fmt: skip
def test_bytes_are_exact(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_bytes, "", "'' is not an amount of memory; write it like 14.958GiB"),
        (parse_bytes, "80", "'80' has no unit; write it like 14.958GiB"),
        (
            parse_bytes,
            "80gib",
            "'80gib' has the unknown unit 'gib'; did you mean 80GiB? known",
        ),
        (parse_bytes, "80 GiB x", "'80 GiB x' is not an amount of memory"),
        (parse_bytes, "1_0GiB", "'1_0GiB' has the unknown unit '_0GiB'"),
        (parse_bytes, "\u0661GiB", "'\u0661GiB' is not an amount of memory"),
        (parse_bytes, "nanGiB", "'nanGiB' is not an amount of memory"),
        (parse_bytes, "-1B", "'-1B' is negative; memory starts at 0B"),
        (parse_bytes, "1025TiB", "'1025TiB' is more than 1024TiB; check the unit"),
        (parse_bytes, "1e999GiB", "'1e999GiB' is more than 1024TiB; check the unit"),
        (parse_bytes, "9" * 99 + "B", "…' is not an amount of memory"),
        (parse_duration, "5", "'5' has no unit; write it like 572ms"),
        (parse_duration, "5m", "'5m' has the unknown unit 'm'; known units: us, ms, s, min, h, d"),
        (parse_duration, "-5s", "'-5s' is negative; a duration starts at 0s"),
        (parse_duration, "366d", "'366d' is more than 365 days; check the unit"),
        (parse_rate, "5", "'5' has no unit; write it like 2.1/s (known units: /s, /min, /h, /d)"),
        (parse_rate, "5/m", "'5/m' has the unknown unit '/m'"),
        (parse_rate, "-5/s", "'-5/s' is negative; a rate starts at 0/s"),
        (parse_rate, "1e13/s", "'1e13/s' is more than 1e12 a second; check the unit"),
    ],
)
def test_what_is_no_quantity_is_refused_with_the_way_out(parse, text, message):
    with pytest.raises(UnitError) as caught:
        parse(text)
    assert message in caught.value.faults[0].message


def test_durations_and_rates_are_per_second():
    assert parse_duration("572ms") == 0.572
    assert parse_duration("250us") == 0.00025
    assert parse_duration("1.5min") == 90.0
    assert parse_duration("2h") == 7200.0
    assert parse_duration("365d") == 365 * 86400
    assert parse_rate("126/min") == 2.1
    assert parse_rate("2.1/s") == parse_rate(" 2.1 /s ") == 2.1
    assert parse_rate("7200/h") == 2.0
    assert parse_rate("86400/d") == 1.0


@given(st.integers(0, 2**50))
def test_any_number_of_bytes_is_read_back(count):
    assert parse_bytes(f"{count}B") == count


@given(st.floats(0, 1e7, allow_subnormal=False))
def test_any_float_of_seconds_is_read_back(seconds):
    assert parse_duration(f"{seconds!r}s") == seconds
    assert parse_rate(f"{seconds!r}/s") == seconds


def test_output_is_for_people():
    assert format_bytes(80 * GIB) == "80.0 GiB"
    assert format_bytes(-GIB // 2) == "-0.5 GiB"
    assert format_bytes(1234 * GIB, 0) == "1,234 GiB"
    assert [format_seconds(t) for t in (0.0004, 0.02, 12.345, 1234.5)] == [
        "0.000 s", "0.02 s", "12.35 s", "1,234 s",
    ]  # fmt: skip
    assert [format_percent(p) for p in (0, 1e-9, 0.0005, 0.005, 0.038)] == [
        "0 %", "<0.001 %", "0.050 %", "0.50 %", "3.8 %",
    ]  # fmt: skip
    assert format_percent(math.inf) == "inf %"
