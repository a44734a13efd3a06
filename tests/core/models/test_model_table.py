import json
import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.core.models import model_table
from kvplace.core.models.architecture import Architecture
from kvplace.core.models.model_table import DemandColumns, ModelTable

SHAPE = Architecture(layers=2, hidden_size=8, parameters=100, active_parameters=100)


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


NUMBERS = st.lists(st.sampled_from([0.0, 2.5, 7.0, math.nan]), min_size=5, max_size=5)


@given(st.data(), st.integers(1, 6), st.sampled_from([0, 9]), st.integers(0, 2))
def test_models_made_one_after_the_other_are_those_made_alone(data, at_once, kept, shown):
    def column():
        return array("d", data.draw(NUMBERS) if data.draw(st.booleans()) else [])

    rates, sizes = array("d", [1.0, 0.0, 2.0, 3.0, 4.0]), array("q", [4, 9, 0, 2**40, 7])
    windows = tuple(DemandColumns(name, rates, column(), column()) for name in ("a", "b")[:shown])
    of, alone = [
        ModelTable(
            list("abcde"), sizes, sizes, sizes, rates, *columns, array("q", [-1, 0, 5, 6, 7]),
            windows, array("q", [3, -1, 4, -1, 9]), (SHAPE,), array("i", [0, -1, -1, 0, 0]),
        )
        for columns in [[column() for _ in range(5)]] * 2
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_table, "_AT_ONCE", at_once)
        patch.setattr(model_table, "_MOST_MADE", kept)
        expected = [alone[row] for row in range(5)]
        assert list(of) == expected
        assert list(of) == expected
        assert (of[1] is of[1]) == bool(kept)


@given(st.lists(st.tuples(st.text(), st.integers(0, 2**62), st.floats(0, math.inf))))
def test_what_enters_a_digest_is_the_json_of_the_rows(rows):
    names, sizes, loads = [list(column) for column in zip(*rows, strict=True)] or ([], [], [])
    whole, empty = array("q", sizes), array("d")
    of = ModelTable(names, whole, whole, whole, empty, empty, *[empty] * 4, array("q"))
    order = range(len(rows))[::-1]
    expected = [[*(names[j], *[sizes[j]] * 3, loads[j]), [1], 1, 1] for j in order]
    assert of.digest_text(order, loads) == json.dumps(expected, separators=(",", ":"))[1:-1]
