"""YAML is read with the line of every value."""

from kvplace.formats.text.yaml_tree import parse_yaml


def test_lines_are_those_of_the_keys():
    tree = parse_yaml("models:\n- name: a\n  demand:\n    rate: 1\n- name: b\n")
    assert tree.data == {"models": [{"name": "a", "demand": {"rate": 1}}, {"name": "b"}]}
    assert tree.line_of(("models", 0, "demand", "rate")) == 4
    assert tree.line_of(("models", 1, "name")) == 5
