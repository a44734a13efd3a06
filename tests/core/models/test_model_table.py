import json
import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.core.models import model_table
from kvplace.core.models.model_table import ModelTable


def table(names):
    counts = array("q", range(len(names)))
    empty = array("d")
    rates = array("d", map(float, counts))
    return ModelTable(names, counts, counts, counts, rates, rates, *[empty] * 4, array("q"))


@pytest.mark.parametrize("most", [3, 2])
def test_a_table_keeps_the_models_made_of_it_unless_they_are_many(monkeypatch, most):
    monkeypatch.setattr(model_table, "_MOST_MADE", most)
    of = table(["a", "b", "c"])
    assert [model.weights_bytes for model in of] == [0, 1, 2]
    assert (of[1] is of[1]) == (most == 3)
    assert of[1] == table(["x", "b", "c"])[1]
    assert of == table(["a", "b", "c"]) != table(["x", "b", "c"])


@given(st.lists(st.tuples(st.text(), st.integers(0, 2**62), st.floats(0, math.inf))))
def test_what_enters_a_digest_is_the_json_of_the_rows(rows):
    names, sizes, loads = [list(column) for column in zip(*rows, strict=True)] or ([], [], [])
    whole, empty = array("q", sizes), array("d")
    of = ModelTable(names, whole, whole, whole, empty, empty, *[empty] * 4, array("q"))
    order = range(len(rows))[::-1]
    expected = [[*(names[j], *[sizes[j]] * 3, loads[j]), [1], 1, 1] for j in order]
    assert of.digest_text(order, loads) == json.dumps(expected, separators=(",", ":"))[1:-1]
