"""Prices of GPUs: read, or refused with every fault and its line."""

import pytest

from kvplace.errors import InputError
from kvplace.formats.fleet.prices import read_prices


def test_types_and_prices(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text("# per GPU and hour\nH100-SXM-80GB: 2.5\n80GiB: 1\n", "utf-8")
    assert read_prices(path) == {"H100-SXM-80GB": 2.5, "80GiB": 1.0}
    path = tmp_path / "prices.json"
    path.write_text('{"A": 0.25}', "utf-8")
    assert read_prices(path) == {"A": 0.25}


def test_every_fault_with_its_line(tmp_path):
    text = "A: cheap\nB: -1\nC: .inf\nD: true\nE:\nF: 0\nG: [1]\nH: 1\n"
    path = tmp_path / "prices.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        read_prices(path)
    lines = caught.value.lines()
    assert [line.split(":")[1].strip() for line in lines] == [
        f"{name}, line {number}" for number, name in enumerate("ABCDEFG", 1)
    ]
    assert "must be what one such GPU costs per hour, like 2.5, not the text 'cheap'" in lines[0]
    assert "-1 is not a price above 0" in lines[1]


@pytest.mark.parametrize("text", ["[1, 2]", "3", "{}", "A: 1\nA: 2\n", "A: &x 1\n", "{"])
def test_what_is_no_list_of_prices_is_refused(text, tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError):
        read_prices(path)


def test_a_file_that_is_not_there():
    with pytest.raises(InputError, match="there is no such file"):
        read_prices("/no/such/prices.yaml")
