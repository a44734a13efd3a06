"""YAML is read quickly where nothing is to be refused, and says the same as where it is."""

from random import Random

import pytest

from kvplace.formats.text.yaml_tree import _sound, _with_lines, parse_yaml

BITS = (
    "a", "b", "1", "1.5", "~", "true", ": ", ":", "\n", "\n  ", "\n- ", "- ", " ", "{", "}", "[",
    "]", ",", "&x ", "*x", "!t ", "'", '"', "#", "---\n", "...\n", "? ", "|\n", "\t", "a: 1\n",
    "b: [1, 2]\n", "c: {d: 2}\n", "\ud800", "\x07", "0x1f", ".inf", "%",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_both_ways_of_reading_say_the_same(seed):
    random = Random(seed)
    for _ in range(150):
        text = "".join(random.choice(BITS) for _ in range(random.randrange(1, 14)))
        quick, slow = parse_yaml(text), _with_lines(text)
        assert repr(quick.data) == repr(slow.data)
        assert quick.faults == slow.faults
        assert quick.readable == slow.readable
        assert quick.spots == slow.spots


def test_lines_are_found_when_they_are_asked_for():
    text = "models:\n- name: a\n  demand:\n    rate: 1\n- name: b\n"
    assert _sound(text) == {"models": [{"name": "a", "demand": {"rate": 1}}, {"name": "b"}]}
    tree = parse_yaml(text)
    assert tree.line_of(("models", 0, "demand", "rate")) == 4
    assert tree.line_of(("models", 1, "name")) == 5
