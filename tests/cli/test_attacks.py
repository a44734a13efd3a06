"""Plans that claim what is not so, from the day of an adversary: none is called verified."""

import json
from pathlib import Path

import pytest

from kvplace.cli.main import main

ATTACKS = Path(__file__).parents[3] / "shared/data/attacks"
PAIRS = [
    ("bad_opt_search.fleet.json", "bad_opt_search.plan.json"),
    ("soft_forged.fleet.json", "soft_forged_search.plan.json"),
    ("soft_forged.fleet.json", "soft_forged_cert_search.plan.json"),
]

pytestmark = pytest.mark.skipif(not ATTACKS.is_dir(), reason="the shared attacks are not here")


@pytest.mark.parametrize(("fleet", "plan"), PAIRS)
def test_a_forged_optimum_is_a_claim(fleet, plan, capsys):
    paths = [str(ATTACKS / fleet), str(ATTACKS / plan)]
    main(["check", *paths, "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert found["disagreements"] or found["claimed"]
    assert not any("optimal" in sentence for sentence in found["verified"])
    assert main(["check", *paths, "--strict", "--quiet"]) == 1


def test_a_forged_optimum_is_refuted_by_a_better_placement(capsys):
    fleet, plan = (str(ATTACKS / name) for name in PAIRS[0])
    assert main(["check", fleet, plan, "--repeat", "--time-limit", "5s"]) == 1
    assert "a placement has the worst GPU at 0.1111" in capsys.readouterr().out
