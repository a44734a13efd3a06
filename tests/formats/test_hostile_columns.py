"""Parquet of any types: read, or refused in lines; never a crash."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.errors import InputError
from kvplace.formats.plan.io import read_plan
from kvplace.formats.read import read

arrow = pytest.importorskip("pyarrow", reason="Parquet needs the extra 'columns'")
parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the extra 'columns'")

MODELS = ("name", "weights_gib", "requests_per_second", "slo_seconds", "kv_bytes_per_token",
          "prompt_tokens", "tensor_parallel", "replicas")  # fmt: skip
PLAN = ("model", "replica", "shard", "node", "gpu", "weights_bytes", "load")
NUMBERS = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, 2**53, 2**53 + 1, 2**62])
)
FLOATS = st.one_of(st.none(), st.floats())
TEXTS = st.one_of(st.none(), st.text(max_size=4), st.sampled_from(["a", "n/0", "1", "=x", "nan"]))


def column(rows):
    """Return a strategy of arrays of a length, of one type of many."""

    def of(values, kind):
        listed = st.lists(values, min_size=rows, max_size=rows)
        return listed.map(lambda v: arrow.array(v, kind))

    small = st.one_of(st.none(), st.integers(0, 100))
    return st.one_of(
        of(NUMBERS, arrow.int64()),
        of(small, arrow.uint8()),
        of(st.one_of(st.none(), st.integers(0, 2**64 - 1)), arrow.uint64()),
        of(FLOATS, arrow.float64()),
        of(small.map(lambda v: None if v is None else float(v)), arrow.float32()),
        of(TEXTS, arrow.string()),
        of(TEXTS, arrow.large_string()),
        of(TEXTS, arrow.string_view()),
        of(TEXTS, arrow.string()).map(lambda a: a.dictionary_encode()),
        of(st.booleans(), arrow.bool_()),
        of(st.none(), arrow.null()),
        of(st.lists(small, max_size=2), arrow.list_(arrow.int64())),
        of(st.just({"a": 1}), arrow.struct([("a", arrow.int64())])),
        of(small, arrow.timestamp("s")),
        of(st.binary(max_size=3), arrow.binary()),
        of(st.one_of(st.none(), st.decimals(0, 10, places=2)), arrow.decimal128(9, 2)),
    )


@st.composite
def tables(draw, names):
    rows = draw(st.integers(0, 3))
    chosen = draw(st.lists(st.sampled_from(names), unique=True, min_size=1)) + draw(
        st.sampled_from([[], [], ["other"], list(names[:1])])
    )
    return arrow.table([draw(column(rows)) for _ in chosen], names=chosen)


@settings(deadline=None, max_examples=30)
@given(tables(MODELS))
def test_any_table_of_models_is_answered(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("t") / "models.parquet"
    parquet.write_table(table, path)
    try:
        read(path, gpus="2x80GiB")
    except InputError:
        return


@settings(deadline=None, max_examples=30)
@given(tables(PLAN))
def test_any_table_of_a_plan_is_answered(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("t") / "plan.parquet"
    parquet.write_table(table, path)
    try:
        read_plan(path)
    except InputError:
        return


@given(st.binary(max_size=300))
def test_any_bytes_are_answered(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("t") / "models.parquet"
    path.write_bytes(b"PAR1" + data + b"PAR1")
    with pytest.raises(InputError):
        read_plan(path)
