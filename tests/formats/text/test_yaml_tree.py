"""YAML and JSON are read with the line of every value."""

import pytest

from kvplace.errors import InputError
from kvplace.formats.diagnostics import Report
from kvplace.formats.text.json_tree import parse_json
from kvplace.formats.text.yaml_tree import parse_yaml


def test_lines_are_those_of_the_keys():
    report = Report("")
    data = parse_yaml("models:\n- name: a\n  demand:\n    rate: 1\n- name: b\n", report)
    assert data == {"models": [{"name": "a", "demand": {"rate": 1}}, {"name": "b"}]}
    assert report.line_of(("models", 0, "demand", "rate")) == 4
    assert report.line_of(("models", 1, "name")) == 5
    assert report.line_of(("models", 1, "slo", "ttft")) == 5  # of what holds it
    assert report.line_of(("models", 2)) == 1
    assert report.line_of(()) == 1


@pytest.mark.parametrize("parse", [parse_yaml, parse_json])
def test_of_a_doubled_key_the_first_value_stays_and_keeps_its_line(parse):
    report = Report("")
    data = parse('{"a":\n {"b": 1},\n"a": {"b": 2,\n"c": 3},\n"d":\n{"c": 4}}', report)
    assert data == {"a": {"b": 1}, "d": {"c": 4}}
    # What the second value holds has no place: its lines are those of no other mapping.
    assert [report.line_of(path) for path in (("a", "b"), ("a", "c"), ("d", "c"))] == [2, 1, 6]
    with pytest.raises(InputError, match=r"line 3: the key 'a' is given twice, first in line 1$"):
        report.refuse()


@pytest.mark.parametrize("before", ["", '"a", ' * 300_000], ids=["early", "late"])
def test_json_nested_deeper_than_python_goes_is_refused(before):
    report = Report("")
    with pytest.raises(InputError, match="nested deeper than 32 levels") as caught:
        parse_json(f"[{before}\n{'[' * 50_000}{']' * 50_000}]", report)
    assert caught.value.faults[0].line == (None if before else 2)
