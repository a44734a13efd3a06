"""``kvplace plan --survive``: what the exit code, the message and the JSON say of each loss."""

import json
from pathlib import Path

from kvplace.cli.main import main

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "open-models.yaml")
SURVIVE = ["plan", EXAMPLE, "--survive", "1-gpu", "--format", "json"]


def test_without_time_every_loss_is_not_tried_and_none_is_called_lost(capsys):
    assert main([*SURVIVE, "--time-limit", "1ms"]) == 4
    out, err = capsys.readouterr()
    assert {entry["outcome"] for entry in json.loads(out)["failures"]} == {"not_tried"}
    assert "is not known" in err
    assert "0 restored, 8 not tried to the end (" in err
    assert "not survive" not in err


def test_every_loss_that_is_restored_is_in_the_plan(tmp_path):
    target = tmp_path / "plan.json"
    assert main([*SURVIVE, "--output", str(target)]) == 0
    failures = json.loads(target.read_text(encoding="utf-8"))["failures"]
    assert {entry["outcome"] for entry in failures} == {"restored"}
    assert len(failures) == 8
    assert all(entry["bound"] <= entry["value"] for entry in failures)
    assert main(["check", EXAMPLE, str(target)]) == 0


def test_a_plan_that_was_not_shown_to_survive_replaces_no_file(tmp_path, capsys):
    target = tmp_path / "plan.json"
    target.write_text("before", encoding="utf-8")
    assert main([*SURVIVE, "--time-limit", "1ms", "--output", str(target)]) == 4
    assert target.read_text(encoding="utf-8") == "before"
    assert "stays as it was" in capsys.readouterr().err
