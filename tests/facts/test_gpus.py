"""The catalogue of GPU types."""

import csv
from pathlib import Path

import pytest

from kvplace.errors import InputError
from kvplace.facts.catalogue.gpus import find_gpu_type, gpu_type, gpu_types
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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("h200", "H200-SXM-141GB"),
        ("H100", "H100-SXM-80GB"),
        ("H100 PCIe", "H100-PCIE-80GB"),
        ("A100-80GB", "A100-SXM-80GB"),
        ("NVIDIA-H100-80GB-HBM3", "H100-SXM-80GB"),
        ("NVIDIA A100-SXM4-80GB", "A100-SXM-80GB"),
        ("NVIDIA A100-PCIE-40GB", None),
        ("Tesla V100-SXM2-32GB", "V100-SXM-32GB"),
        ("Tesla T4", "T4-16GB"),
        ("NVIDIA L40S", "L40S-48GB"),
        ("NVIDIA GeForce RTX 4090", "RTX4090-24GB"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000-Server-96GB"),
        ("AMD Instinct MI300X", "MI300X-192GB"),
        ("A100", None),
        ("H100 NVL", None),
        ("A10", "A10-24GB"),
        ("NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", None),
        ("80GB", None),
        ("nvidia", None),
        ("", None),
    ],
)
def test_a_type_is_known_by_its_words(name, meant):
    found = find_gpu_type(name)
    assert (found and found.name) == meant


def test_an_unknown_type_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'A100' could be A100-SXM-40GB .* name one$"):
        gpu_type("A100")
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


def test_a_file_in_place_of_gpus_is_answered_with_how_they_are_written():
    with pytest.raises(
        InputError, match=r"'inventory\.csv' is no GPU type .* 400x8xH100,300x4xL40S"
    ):
        gpu_type("inventory.csv")
