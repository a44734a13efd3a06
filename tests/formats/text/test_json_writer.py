"""Indented JSON: letter for letter what the standard library writes."""

import json
import math
from enum import StrEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.formats.text.json_writer import json_text

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(DATA)
def test_the_text_is_that_of_the_standard_library(data):
    assert json_text(data) == json.dumps(data, indent=1, allow_nan=False)


def test_a_word_of_an_enumeration_is_text():
    word = StrEnum("Word", {"ONE": "one"}).ONE
    assert json_text({"a": word}) == json.dumps({"a": word}, indent=1)


def test_a_number_of_another_library_is_a_number():
    data = [np.float64(0.1)]
    assert json_text(data) == json.dumps(data, indent=1)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(number):
    with pytest.raises(ValueError, match="no number"):
        json_text([number])


def test_what_has_no_form_in_json_is_refused():
    with pytest.raises(TypeError, match="set"):
        json_text({"a": {1}})
