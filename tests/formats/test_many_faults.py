"""Files in which everything is wrong are refused at once, however long they are."""

import pyarrow as pa
import pyarrow.parquet as parquet_files
import pytest

from kvplace.errors import InputError
from kvplace.formats import diagnostics
from kvplace.formats.diagnostics import MAX_FAULTS, MOST_NOTED, Report
from kvplace.formats.read import parse_fleet, read
from kvplace.formats.tables.models import parse_table

COUNT = 20_000


@pytest.fixture
def looked_up(monkeypatch):
    """Count how often a word is compared with all that are known."""
    calls = []
    closest = diagnostics.closest
    for module in ("kvplace.formats.diagnostics", "kvplace.formats.validation.models"):
        monkeypatch.setattr(f"{module}.closest", lambda *a: calls.append(a) or closest(*a))
    return calls


def test_unknown_keys_beyond_a_thousand_are_not_looked_up(looked_up):
    with pytest.raises(InputError) as refused:
        parse_fleet("".join(f"k{i}: 1\n" for i in range(COUNT)))
    assert len(refused.value.faults) == MAX_FAULTS + 1
    assert len(looked_up) <= 2 * MOST_NOTED


def test_unknown_columns_beyond_a_thousand_are_not_looked_up(looked_up):
    header = ",".join(f"c{i}" for i in range(COUNT))
    with pytest.raises(InputError) as refused:
        parse_table(f"name,{header}\n", "2x80GiB")
    assert len(refused.value.faults) == MAX_FAULTS + 1
    assert "at least" in str(refused.value.faults[-1])
    assert len(looked_up) <= 2 * MOST_NOTED


def test_a_report_covers_what_is_below_a_fault():
    report = Report("f")
    report.add((), "all wrong")
    assert not report.covers(("a",))
    report.add(("a", 1), "wrong")
    assert report.covers(("a", 1))
    assert report.covers(("a", 1, "b"))
    assert not report.covers(("a",))
    assert not report.covers(("a", 2))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_numbers_too_small_to_mean_anything_are_refused_alike(form, tmp_path):
    path = tmp_path / f"models.{form}"
    if form == "csv":
        path.write_text("name,weights_gib,requests_per_second,slo_seconds\nm,8,1e-320,5\n")
    else:
        one = {"name": ["m"], "weights_gib": [8.0], "requests_per_second": [1e-320]}
        parquet_files.write_table(pa.table(one | {"slo_seconds": [5.0]}), path)
    with pytest.raises(InputError, match="requests_per_second"):
        read(path, gpus="2x80GiB")


def test_a_column_of_lists_is_named_and_not_cast(tmp_path):
    path = tmp_path / "models.parquet"
    one = {"name": [["m"]], "weights_gib": [8.0], "requests_per_second": [1.0]}
    parquet_files.write_table(pa.table(one), path)
    with pytest.raises(InputError, match="name: it holds list"):
        read(path, gpus="2x80GiB")
