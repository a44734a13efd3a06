"""Damages data at random: values replaced, left out, doubled or moved, and bytes torn."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import yaml

JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, 10**30, 1e308, 1e-320, math.nan, math.inf,
    "", " ", "a", "=x", "0", "-1", "1e999", "\uff11", "${A:?}", "${A", "$", "'", '"', "../..", "/",
    "nan", "null", "all", "--model", "-tp", "\u202e", "\ud800", "x" * 5000, [], {}, [[]], [None],
    [1, "a"], {"a": 1}, {"": None},
)  # fmt: skip


def damaged(value: Any, rng: random.Random, depth: int = 0) -> Any:
    """Return data with one part of it replaced, left out, doubled or moved."""
    if isinstance(value, dict) and value and (depth < 1 or rng.random() < 0.8):
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if rng.random() < 0.05:
            return {**value, str(rng.choice(JUNK))[:50]: rng.choice(JUNK)}
        return {**value, key: damaged(value[key], rng, depth + 1)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        if rng.random() < 0.1:
            return value * rng.choice((0, 2, 50))
        return [*value[:at], damaged(value[at], rng, depth + 1), *value[at + 1 :]]
    if isinstance(value, str) and rng.random() < 0.4:
        return torn(value.encode("utf-8", "replace"), rng).decode("utf-8", "replace")
    return rng.choice(JUNK)


def torn(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with a few of them changed, cut out, doubled or put in."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        to = min(len(data), at + rng.randint(1, 20))
        piece = rng.choice((b"", bytes([rng.randrange(256)]), data[at:to] * 3, b"\0", b'"', b"\n"))
        data = data[:at] + piece + data[to if rng.random() < 0.7 else at :]
    return data


def text_of(value: Any, rng: random.Random) -> bytes:
    """Return damaged data as JSON or YAML, sometimes torn as well."""
    value = damaged(value, rng)
    if rng.random() < 0.3:
        value = damaged(value, rng)
    try:
        text = yaml.safe_dump(value) if rng.random() < 0.5 else json.dumps(value)
    except (yaml.YAMLError, ValueError):
        text = json.dumps(value)
    data = text.encode("utf-8", "surrogatepass")
    return torn(data, rng) if rng.random() < 0.3 else data
