"""The real pools: made from tables that may be absent, and then read as any fleet file."""

import importlib.util
from pathlib import Path

import pytest

from kvplace.core.evaluation.constraints import misfits
from kvplace.formats.read import read

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared/data"


@pytest.fixture
def pools():
    spec = importlib.util.spec_from_file_location("pools", ROOT / "benchmarks/pools.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not DATA.exists(), reason=f"there is no {DATA}")
@pytest.mark.parametrize(("name", "gpus"), [("alibaba-2023", 6212), ("alibaba-2026", 10412)])
def test_a_pool_is_filled_as_far_as_it_says_with_models_that_fit(pools, tmp_path, name, gpus):
    problem = read(str(pools.write_pool(name, 0, tmp_path)))
    assert len(problem.fleet.gpus) == gpus
    assert problem.goal == "occupancy"
    assert misfits(problem) == {}
    memory = sum(gpu.usable_bytes for gpu in problem.fleet.gpus)
    taken = sum(
        problem.need(index, model.tensor_parallel[0]).weights_bytes * model.tensor_parallel[0]
        for index, model in enumerate(problem.models)
    )
    assert taken / memory == pytest.approx(0.7, abs=0.02)
    if gpus < 10_000:  # once is enough
        again = pools.write_pool(name, 0, tmp_path / "again")
        assert again.read_text("utf-8") == (tmp_path / again.name).read_text("utf-8")


def test_a_pool_without_its_tables_is_skipped_with_a_message(pools, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pools, "DATA", tmp_path / "nowhere")
    assert pools.write_pool("alibaba-2023", 0, tmp_path) is None
    assert "skipped, there is no" in capsys.readouterr().err
