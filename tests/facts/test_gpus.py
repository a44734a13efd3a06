"""The catalogue of GPU types."""

import csv
from pathlib import Path

import pytest

from kvplace.errors import InputError
from kvplace.facts.catalogue.gpus import gpu_type, gpu_types
from kvplace.units import GIB

DATA = Path(__file__).parents[2] / ".." / "shared" / "data" / "gpus.csv"


def test_every_type_has_memory_below_the_size_on_the_box_and_a_source():
    assert len(gpu_types()) == 23
    for name, fact in gpu_types().items():
        boxed = int(name.rpartition("-")[2].removesuffix("GB"))
        assert fact.name == name
        assert 0.85 * boxed < fact.memory_bytes / GIB < boxed
        assert fact.source


def test_a_type_is_found_in_any_case():
    fact = gpu_type("h200-sxm-141gb")
    assert (fact.name, fact.memory_bytes) == ("H200-SXM-141GB", round(139.8 * GIB))
    assert fact.source.startswith("torch OOM messages in public repos: 139.72-139.81 GiB")


def test_an_unknown_type_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'h200' is no GPU .*; did you mean 'H200-SXM-141GB'$"):
        gpu_type("h200")
    with pytest.raises(InputError, match=r"did you mean 'H100-PCIE-80GB' or 'H100-SXM-80GB'$"):
        gpu_type("H100")
    with pytest.raises(InputError, match=r"did you mean 'H100-SXM-80GB'$"):
        gpu_type("H100-SXM-80G")
    with pytest.raises(InputError, match=r"did you mean 'A100-SXM-80GB'$"):
        gpu_type("A100-SXM80GB")
    with pytest.raises(InputError, match="known: T4-16GB, V100-SXM-32GB"):
        gpu_type("zzzzzzzz")


def test_the_figures_are_those_of_the_table_they_come_from():
    if not DATA.exists():
        pytest.skip("the shared data is absent")
    rows = csv.DictReader(DATA.read_text(encoding="utf-8").splitlines())
    expected = {row["name"]: round(float(row["usable_gib"]) * GIB) for row in rows}
    assert {name: fact.memory_bytes for name, fact in gpu_types().items()} == expected
