"""Rows of named columns on terminals of any width."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.report.tables.scores import rows_table

ROWS = [
    {"name": "org/model-one", "kv_bytes_per_token": "131,072", "state_bytes": "-", "note": "x y"},
    {"name": "org/m", "kv_bytes_per_token": "1", "state_bytes": "77", "note": ""},
]


def test_a_table_that_fits_is_one_line_a_row():
    assert rows_table(ROWS, width=60) == rows_table(ROWS)
    assert len(rows_table(ROWS).splitlines()) == 3


def test_headings_stand_in_several_lines_where_they_are_too_wide():
    lines = rows_table(ROWS, width=45).splitlines()
    assert max(map(len, lines)) <= 45
    assert [line.split()[0] for line in lines] == ["kv_", "bytes_", "per_", "name", *(
        row["name"] for row in ROWS)]  # fmt: skip


def test_rows_are_blocks_where_nothing_else_fits():
    lines = rows_table(ROWS, width=30).splitlines()
    assert lines[0] == "org/model-one"
    assert lines[-2:] == ["  kv_bytes_per_token 1,", "  state_bytes 77"]
    assert "note" not in lines[-1]


@given(st.integers(40, 120))
def test_every_cell_is_shown_at_any_width(width):
    text = " ".join(rows_table(ROWS, width=width).split())
    for row in ROWS:
        assert all(cell in text for cell in row.values() if cell not in ("", "-"))


@pytest.mark.parametrize("width", [None, 200])
def test_wide_and_unlimited_are_the_same(width):
    assert rows_table(ROWS, width=width) == rows_table(ROWS)
