"""What is written as YAML reads back as it was, by YAML 1.1 and 1.2 alike."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.formats.diagnostics import Report
from kvplace.formats.text.yaml_tree import parse_yaml
from kvplace.formats.text.yaml_writer import quoted, yaml_text
from strategies import NAMES

SCALARS = st.one_of(
    NAMES, st.integers(-(10**9), 10**9), st.floats(0, 1e6), st.booleans(), st.none()
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(DATA)
def test_data_reads_back_equal(data):
    text = yaml_text({"key": data})
    assert parse_yaml(text, Report("")) == yaml.safe_load(text) == {"key": data}


@pytest.mark.parametrize(
    "word", ["no", "Yes", "ON", "null", "1", "1e3", "a: b", "#x", "~", "ü", ""]
)
def test_words_that_mean_something_else_are_quoted(word):
    assert yaml.safe_load(quoted(word)) == word
    assert parse_yaml(f"- {quoted(word)}\n", Report("")) == [word]


def test_amounts_stand_without_quotes():
    text = yaml_text({"models": [{"weights": "14.958GiB", "name": "org/m-1"}]})
    assert text == "models:\n- {weights: 14.958GiB, name: org/m-1}\n"


@pytest.mark.parametrize("text", ["70B", "0B", "3GiB", "1e-05s", "1.5e+3s", "12e4", "0x1B", "1s2"])
def test_amounts_and_what_looks_like_them_are_read_back_as_text(text):
    written = yaml_text({"texts": [text]})
    assert parse_yaml(written, Report("")) == yaml.safe_load(written) == {"texts": [text]}
