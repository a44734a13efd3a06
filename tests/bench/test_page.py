"""The page of results and the files of results agree."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from kvplace.bench.scale import SHAPES, SIZES

ROOT = Path(__file__).parents[2]
GROWTH = ROOT / "benchmarks/results/growth.json"
RESULTS = sorted(
    path
    for path in set((ROOT / "benchmarks/results").glob("*.json")) - {GROWTH}
    if "solvers" in json.loads(path.read_text("utf-8"))  # others are recordings of other kinds
)


sys.path.append(str(ROOT / "benchmarks"))  # where its scripts find each other


def script(name):
    """Import a script of benchmarks/ by its path."""
    spec = importlib.util.spec_from_file_location(
        f"benchmarks_{name}", ROOT / f"benchmarks/{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_the_files_hold():
    assert script("page").main(["--check"]) == 0, "run: python benchmarks/page.py"


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_recording_is_whole_and_says_where_it_was_made(path):
    whole = json.loads(path.read_text("utf-8"))
    place = whole["environment"]
    assert len(place["commit"]) == 40
    assert {"python", "kvplace", "numpy", "highspy"} <= place["versions"].keys()
    assert whole["solvers"][0] == "auto"
    for run in whole["runs"]:
        assert not run["evidence"].startswith("failed")
        if run["value"] is not None:
            assert run["bound"] <= run["value"] * (1 + 1e-9)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_no_bound_exceeds_a_value_that_anyone_reached(path):
    runs = json.loads(path.read_text("utf-8"))["runs"]
    lowest = {}
    for run in runs:
        if run["value"] is not None:
            lowest[run["case"]] = min(run["value"], lowest.get(run["case"], run["value"]))
    for run in runs:
        if run["case"] in lowest and run["bound"] is not None:
            assert run["bound"] <= lowest[run["case"]] * (1 + 1e-6), (run["solver"], run["case"])


def test_growth_is_recorded_for_every_shape_and_size_within_its_bounds():
    whole = json.loads(GROWTH.read_text("utf-8"))
    assert len(whole["environment"]["commit"]) == 40
    assert {row["models"] for row in whole["rows"]} == set(SIZES.values())
    assert {row["shape"] for row in whole["rows"]} == set(SHAPES)
    for row in whole["rows"]:
        assert row["bound"] <= row["value"] * (1 + 1e-9)
        assert row["method"] in {"fluid", "single-model", "dual-feasible"}


def test_a_recording_is_valid_json_with_a_line_per_run():
    text = script("record").compact({"schema": "x", "runs": [{"a": 1}, {"a": None}], "scores": []})
    assert json.loads(text) == {"schema": "x", "runs": [{"a": 1}, {"a": None}], "scores": []}
    assert text.count('"a"') == text.count('{"a"')
