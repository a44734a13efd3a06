"""Many objects made from columns are those of their constructor, and as strict."""

import math
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.core.columns import Columns, made
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas
from kvplace.errors import InputError

NUMBERS = st.sampled_from([0.0, 0.5, 3.0, 7, -1.0, math.nan, math.inf, None, "x", True])
WHOLE = st.sampled_from([0, 5, 2**40, -1, 2.0, None, "x"])
DEMAND = {"requests_per_second": NUMBERS, "prompt_tokens": NUMBERS, "cached_tokens": NUMBERS}
MODEL = {
    "name": st.sampled_from(["a", "b", 3]),
    "weights_bytes": WHOLE,
    "kv_bytes_per_token": WHOLE,
    "kv_heads": WHOLE,
    "kv_block_tokens": WHOLE,
    "tensor_parallel": st.sampled_from([(1,), (1, 2), (0,), (), [2]]),
    "gpu_types": st.sampled_from([(), ("X",), "X"]),
}


def columns(draw, kinds, rows):
    """Columns of which most hold one value."""
    found = {}
    for name, values in kinds.items():
        usual = draw(values)
        odd = draw(st.dictionaries(st.integers(0, rows - 1), values, max_size=1))
        found[name] = [odd.get(row, usual) for row in range(rows)]
    return found


@settings(max_examples=300)
@given(st.data())
def test_models_of_columns_are_those_of_the_constructor(data):
    rows = data.draw(st.integers(1, 4))
    demand, stated = (columns(data.draw, kinds, rows) for kinds in (DEMAND, MODEL))
    spans = columns(data.draw, {"min": st.integers(0, 2), "max": st.integers(0, 2)}, rows)
    tables = {
        "demand": Columns(Demand, demand),
        "slo": Columns(SLO, {"tpot_seconds": columns(data.draw, {"t": NUMBERS}, rows)["t"]}),
        "replicas": Columns(Replicas, spans),
    }
    try:
        wanted = [
            Model(**dict(zip(stated, row, strict=True)), demand=demand, slo=slo, replicas=replicas)
            for *row, demand, slo, replicas in zip(*stated.values(), *tables.values(), strict=True)
        ]
    except InputError:
        with pytest.raises(InputError):
            made(Columns(Model, stated | tables))
    else:
        found = made(Columns(Model, stated | tables))
        assert found == wanted
        for one, other in zip(found, wanted, strict=True):
            for field in fields(Model):
                kept, asked = getattr(one, field.name), getattr(other, field.name)
                assert type(kept) is type(asked), field.name
