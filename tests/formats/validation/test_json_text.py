"""JSON of parts: letter for letter what the standard library writes of the same data."""

import json
import math
from dataclasses import dataclass, is_dataclass, replace
from enum import StrEnum
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from kvplace import solve
from kvplace.core.columns import Columns, Grouped
from kvplace.core.models.model_table import ModelTable
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.schema import PlanModelPart, PlanPart
from kvplace.formats.tables.models import parse_table
from kvplace.formats.validation import json_text as module
from kvplace.formats.validation.fields import Number, NumberOrInfinity
from kvplace.formats.validation.json_text import json_pieces, json_text, stated, stated_all
from kvplace.formats.validation.parts import ALWAYS, MISSING, Part, Written, fields_of
from strategies import split_problems

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


@dataclass(frozen=True)
class Held:
    """One mapping within another."""

    percent: float = 0.0
    words: tuple[str, ...] = ()


class Whole(Part):
    """A mapping of every shape."""

    data: Annotated[Any, ALWAYS] = None
    held: tuple[Held, ...] = ()
    by_name: dict[str, Held] = Field(default={})
    lists: tuple[tuple[int | str, ...], ...] = ()
    least: NumberOrInfinity | None = None
    share: Number = 1.0


def plain(kind, value):
    """Return a value as plain data, the fields of parts one by one."""
    held, own = get_args(kind), [e for e in get_args(kind)[1:] if isinstance(e, Written)]
    if value is None:
        return None
    if get_origin(kind) is Annotated:
        return own[0].write(value) if own else plain(held[0], value)
    if get_origin(kind) in {Union, UnionType}:
        kinds = [inner for inner in held if inner is not type(None)]
        return plain(kinds[0], value) if len(kinds) == 1 else value
    if get_origin(kind) is dict:
        return {key: plain(held[1], inner) for key, inner in value.items()}
    if get_origin(kind) in {tuple, list}:
        return [plain(held[0], inner) for inner in value]
    if not (isinstance(kind, type) and (issubclass(kind, Part) or is_dataclass(kind))):
        return value
    given = [(field, getattr(value, field.name)) for field in fields_of(kind).values()]
    return {
        field.key: plain(field.kind, inner) for field, inner in given
        if field.default is MISSING or (inner is not None and inner != field.default)
    }  # fmt: skip


def standard(part, value):
    """Return what the standard library makes of what a part states."""
    data = plain(part, value)
    assert stated(part, value) == json.loads(json.dumps(data))
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


HELD = st.builds(Held, st.sampled_from([0.0, 0.25, 1e300, 5]), st.lists(st.text()).map(tuple))


@given(
    st.builds(
        Whole.model_construct,
        data=DATA,
        held=st.lists(HELD).map(tuple),
        by_name=st.dictionaries(st.text(), HELD),
        lists=st.lists(st.lists(st.integers() | st.text()).map(tuple)).map(tuple),
        least=st.none() | st.just(math.inf) | st.floats(0, 9),
        share=st.sampled_from([1.0, 0.5]),
    )
)
def test_the_text_is_that_of_the_standard_library(whole):
    assert json_text(Whole, whole) == standard(Whole, whole)


@settings(max_examples=10, deadline=None)
@given(split_problems(), st.sampled_from([1, 2, 1000]))
def test_a_plan_is_what_the_standard_library_writes(problem, at_once):
    result = solve(problem, iterations=1)
    plan = plan_of(result)
    with patch.object(module, "AT_ONCE", at_once):
        pieces = list(json_pieces(PlanPart, plan))
    assert "".join(pieces) == standard(PlanPart, plan)
    gpus = () if result.evaluation is None else result.evaluation.gpus
    for stated_gpu, gpu in zip(plan.gpus, gpus, strict=True):
        held = [(shard.model, shard.replica, shard.index, shard.load) for shard in gpu.shards]
        assert [(s.model, s.replica, s.shard, s.load) for s in stated_gpu.shards] == held
        assert tuple(stated_gpu.time_shares.values()) == gpu.time_shares
        assert tuple(stated_gpu.occupancies.values()) == gpu.occupancies


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_are_those_of_the_standard_library(numbers):
    whole = Whole.model_construct(data=numbers)
    kept = [Whole.model_construct(share=number) for number in numbers]
    assert json_text(Whole, whole) == standard(Whole, whole)
    assert stated_all(Whole, kept) == [json.loads(json_text(Whole, one)) for one in kept]
    lines = [number for one in kept for number in json_text(Whole, one).split('"share": ')[1:]]
    assert [line.split("\n")[0] for line in lines] == [repr(n) for n in numbers if n != 1.0]


def test_columns_are_counted_and_cut_without_their_objects():
    held = Columns(Held, {"percent": [0.0, 0.5, 0.5]})
    assert held == [Held(), Held(0.5), Held(0.5)]
    assert held[1:] == (Held(0.5), Held(0.5))
    assert held.column("words") == [(), (), ()]
    assert [held.count(Held(0.5)), held.count(Held(2.0)), held.count(None)] == [2, 0, 0]
    groups = Grouped(held, [0, 2, 2, 3])
    assert list(groups) == [(Held(), Held(0.5)), (), (Held(0.5),)]
    assert groups[1:].members == [Held(0.5)]
    assert groups[1:].counts == [0, 1]


def test_models_in_columns_are_written_as_the_models_are():
    table = parse_table(
        "name,weights_gib,requests_per_second,slo_seconds,kv_bytes_per_token,ttft_seconds\n"
        + "".join(
            f"m{i},1.5,{i},9,{'131072' if i % 2 else ''},{i % 3 or ''}\n" for i in range(7000)
        ),
        "80x80GiB",
    ).models
    assert isinstance(table, ModelTable)
    models = tuple(table)
    for name in PlanModelPart.model_fields:
        assert list(table.column(name)) == [getattr(model, name) for model in models]
    assert table == models
    assert table != models[1:]
    assert table != (replace(models[0], weights_bytes=1), *models[1:])


def test_a_word_of_an_enumeration_and_a_number_of_another_library_are_written():
    word = StrEnum("Word", {"ONE": "one"}).ONE
    whole = Whole.model_construct(data=[word, np.float64(0.1)], share=np.float64(0.3))
    assert json_text(Whole, whole) == standard(Whole, whole)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(number):
    with pytest.raises(ValueError, match="JSON compliant"):
        json_text(Whole, Whole.model_construct(share=number))


def test_what_has_no_form_in_json_is_refused():
    with pytest.raises(TypeError, match="set"):
        json_text(Whole, Whole.model_construct(data={1}))
