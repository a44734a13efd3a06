"""Text for a terminal stays harmless and in its columns."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from kvplace.report.text import (
    clean,
    copies_text,
    fit,
    flow,
    gpus_text,
    names_text,
    short_names,
    shorten,
    wrap_lines,
)  # fmt: skip


@given(st.text(st.characters(), max_size=60))
def test_cleaned_text_is_printable(text):
    assert clean(text).isprintable()


@given(st.text(max_size=500), st.integers(1, 60), st.booleans())
def test_fitted_text_takes_exactly_its_columns(text, width, right):
    assert cell_len(fit(text, width, right=right)) == width


@given(
    st.lists(st.text(max_size=30), min_size=1, max_size=12),
    st.integers(12, 40),
    st.one_of(st.none(), st.integers(1, 4)),
)
def test_flowed_lines_stay_in_their_columns(items, width, lines):
    flowed = flow(items, width, lines)
    assert all(cell_len(line) <= width for line in flowed)
    assert lines is None or len(flowed) <= lines


def test_flow_counts_what_it_leaves_out():
    assert flow(["aaaa", "bbbb", "cccc", "dddd"], 11, None) == ["aaaa, bbbb,", "cccc, dddd"]
    assert flow(["aaaa", "bbbb", "cccc", "dddd"], 13, 1) == ["aaaa, +3 more"]
    assert flow(["aaaa", "bbbb"], 11, 1) == ["aaaa, bbbb"]


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 10, "short"),
        ("Mistral-Small-3.2-24B-Instruct", 16, "Mistral-Sm…truct"),
        ("模型模型模型", 7, "模型…型"),
        ("\x1b[31mred", 20, "\\x1b[31mred"),
        ("a\nb", 5, "a\\nb"),
        ("\u202egpj.exe", 20, "\\u202egpj.exe"),
        ("\ud800", 10, "\\ud800"),
    ],
)
def test_shorten(text, width, shown):
    assert shorten(text, width) == shown


def test_short_names_drop_the_organisation_only_where_that_stays_unique():
    assert short_names(["a/x", "b/x", "b/y", "z/"]) == {
        "a/x": "a/x",
        "b/x": "b/x",
        "b/y": "y",
        "z/": "z/",
    }


@pytest.mark.parametrize(
    ("gpus", "text"),
    [
        ((), ""),
        (("h100/3",), "h100/3"),
        (("h100/0", "h100/1"), "h100/0+1"),
        (("h100/0", "h100/1", "h100/2", "h100/3"), "h100/0-3"),
        (("h100/1", "h100/5"), "h100/1+5"),
        (("h100/5", "h100/4"), "h100/5+4"),  # the order of ranks is kept
        (("a/b/0", "a/b/1", "a/b/2", "a/b/7"), "a/b/0-2+7"),
        (("x/0", "y/1"), "x/0+y/1"),
        (("gpu-a", "gpu-b"), "gpu-a+gpu-b"),
    ],
)
def test_gpus_of_a_replica_are_short_where_they_are_of_one_node(gpus, text):
    assert gpus_text(gpus) == text


def test_long_lines_break_at_words_below_the_last_column():
    lines = [
        "\x1b[1ma sentence of several words\x1b[0m",
        "  indented and long as well",
        "0.5  -50 %  one change that helps",
        "short",
    ]
    text = "\n".join(lines)
    assert wrap_lines(text, 24).split("\n") == [
        "\x1b[1ma sentence of several",
        "words\x1b[0m",
        "  indented and long as",
        "  well",
        "0.5  -50 %  one change",
        "            that helps",
        "short",
    ]


def test_rows_of_tables_are_left_as_they_are():
    row = "GPU      KVPR     memory     models"
    assert wrap_lines(row, 30) == row


@example(["aaa  aaaa漢 "], 10)  # a word that is wider than its column
@given(st.lists(st.text("ab cé漢", max_size=60), max_size=4), st.integers(4, 60))
def test_wrapping_keeps_every_word_and_is_no_wider_than_it_must_be(lines, width):
    text = "\n".join(lines)
    wrapped = wrap_lines(text, width)
    assert wrapped.split() == text.split()
    for line in wrapped.split("\n"):
        assert cell_len(line) <= width or line in lines or " " not in line.strip()


def test_copies_side_by_side_are_not_written_like_one_that_is_split():
    assert copies_text([("n/2",), ("n/3",)]) == ["n/2,3"]
    assert copies_text([("n/2", "n/3")]) == ["n/2+3"]
    assert copies_text([("n/0",), ("n/1",), ("n/2",), ("m/0",)]) == ["n/0-2", "m/0"]


def test_names_that_count_on_are_a_run():
    names = ["a-1", "a-2", "a-3", "a-5", "b", "c-09", "c-10", "c-11", "c-12"]
    assert names_text(names) == "a-1 to a-3, a-5, b, c-09 to c-12"
    assert names_text(["7", "8", "9"]) == "7 to 9"
    assert names_text([]) == ""


def test_a_number_and_its_percent_sign_are_on_one_line():
    assert wrap_lines("the gap is now 46.5 %, as said", 19) == "the gap is now\n46.5 %, as said"
