"""The evidence: one small fleet from placements to tables, and the page against its records."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from kvplace.bench.adrs_like import adrs_like

FOLDER = Path(__file__).parents[2] / "benchmarks" / "evidence"
MODULES = ("fleets", "plans", "play", "tables", "page", "__main__")


@pytest.fixture
def scripts(monkeypatch):
    """The modules of the command by name, each anew."""
    monkeypatch.syspath_prepend(str(FOLDER))
    kept = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    found = {name: importlib.import_module(name) for name in MODULES[:-1]}
    spec = importlib.util.spec_from_file_location("evidence_command", FOLDER / "__main__.py")
    found["command"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found["command"])
    yield found
    for name in MODULES[:-1]:
        sys.modules.pop(name, None)
    sys.modules.update(kept)


def test_a_small_fleet_from_placements_to_tables(scripts, monkeypatch, tmp_path):
    command, play, plans = (scripts[name] for name in ("command", "play", "plans"))
    monkeypatch.setattr(play, "SECONDS", 4.0)
    monkeypatch.setattr(play, "SHARING", {"slice": (1.0,), "mps": (1.0,), "none": (2.0,)})
    monkeypatch.setattr(play, "MODEL", 2)
    monkeypatch.setattr(play, "GPU", 2)
    monkeypatch.setattr(plans, "STEPS", 5)
    monkeypatch.setattr(plans, "KICKS", 1)
    monkeypatch.setattr(command, "fleet", lambda _name, _data: adrs_like(5, gpus=3, models=8))
    folder = tmp_path / "records"
    # A slice that has no time left begins nothing.
    command.run(["7001"], folder, tmp_path, 0.0)
    assert not list(folder.glob("*.json"))
    command.run(["7001"], folder, tmp_path, 10.0)
    record = json.loads((folder / "7001.json").read_text())
    assert set(command.PARTS) <= set(record)
    assert set(record["served"]) <= set(plans.VARIANTS)
    assert {plans.BASE, plans.PRESSURE, plans.REFINED} <= set(record["served"])
    assert all(row["all95"] >= 0 for row in record["served"].values())
    before = (folder / "7001.json").stat().st_mtime_ns
    command.run(["7001"], folder, tmp_path, 10.0)
    assert (folder / "7001.json").stat().st_mtime_ns == before
    tables = scripts["tables"]
    for made in (tables.gains, tables.loads, tables.stated, tables.robustness, tables.told):
        lines = made([record]).splitlines()
        assert len(lines) >= 3
        assert len({line.count("|") for line in lines}) == 1


def test_ratios_by_hand(scripts):
    tables, plans = scripts["tables"], scripts["plans"]
    records = [
        {"fleet": "a", "served": {plans.BASE: {"all95": 1.0}, plans.PRESSURE: {"all95": 4.0}}},
        {"fleet": "b", "served": {plans.BASE: {"all95": 0.0}, plans.PRESSURE: {"all95": 0.05}}},
    ]
    found = tables.ratios(records, tables.of("served", "all95"), plans.PRESSURE)
    assert found == [4.0, 1.0]  # below 0.1 both count as 0.1
    assert tables.interval(found)[0] == pytest.approx(2.0)
    # Of three pairs of a bad and a good GPU, the forecast has two right and one equal.
    rows = [[0.5, 0.9], [0.96, 0.95], [0.97, 0.9], [1.0, 1.0]]
    assert tables.auc(rows, 1, falls=True) == pytest.approx(2.5 / 3)


def test_the_page_has_the_tables_of_its_records(scripts):
    page, tables = scripts["page"], scripts["tables"]
    records = json.loads(page.RECORD.read_text())
    found = {"published": page.published(), "sharing": page.sharing(), "crowd": page.crowd()}
    for name in ("gains", "loads", "stated", "robustness", "told"):
        found[name] = getattr(tables, name)(records)
    written = {place[2]: place[3] for place in page._BLOCK.finditer(page.PAGE.read_text())}
    assert set(written) <= {*found, "real-engine", "real-placements"}
    for name, made in found.items():
        assert written.get(name, made + "\n") == made + "\n", name
