"""Plans and proposals that somebody wrote by hand: what is in them reaches no shell."""

import copy
import json

import pytest
from test_runbook import AFTER, BEFORE, MODELS, NOW, fleet, proposed

from kvplace.core.models.launch import EngineName
from kvplace.errors import InputError
from kvplace.export.layout import lay_out
from kvplace.export.runbook.runbook import runbook
from kvplace.formats.plan.schema import parse_plan
from kvplace.formats.proposal import read_proposal, write_proposal
from kvplace.replan.proposal import verify

BREAKS_OUT = 'x"; touch HACKED; "$(id) ../../y'


@pytest.fixture(scope="module")
def moved():
    return proposed(MODELS, fleet("n"), BEFORE, AFTER)


def read(tmp_path, data):
    path = tmp_path / "proposal.json"
    path.write_text(json.dumps(data))
    return read_proposal(path)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ({"label": BREAKS_OUT}, "engine_names[0].label"),
        ({"label": ".."}, "engine_names[0].label"),
        ({"label": "A"}, "engine_names[0].label"),
        ({"label": "a" * 64}, "engine_names[0].label"),
        ({"port": 22}, "must be a whole number from 1024 to 65,535, not 22"),
        ({"port": 65536}, "must be a whole number from 1024 to 65,535, not 65536"),
    ],
)
def test_an_engine_keeps_only_what_an_engine_can_be_called(moved, name, told):
    plan = copy.deepcopy(moved[0].plan)
    assert parse_plan(json.dumps(plan)).engine_names
    plan["engine_names"][0] |= name
    with pytest.raises(InputError) as caught:
        parse_plan(json.dumps(plan))
    assert told in str(caught.value)


@pytest.mark.parametrize("twin", [EngineName("other", 20001), EngineName("mine", 20002)])
def test_no_two_engines_keep_one_name(moved, twin):
    problem = moved[1].problem
    names = {("org/b", 0): EngineName("mine", 20001), ("org/c", 0): twin}
    with pytest.raises(InputError, match=r"are both to keep .*(label mine|port 20001)"):
        lay_out(problem, BEFORE, names=names)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("id",), "1234; touch HACKED"),
        (("expires",), "zzzz"),  # later than any time
        (("created",), "2026-08-13 12:00"),
        (("worth", "objective"), "speed"),
        (("current", 0, "label"), BREAKS_OUT),
        (("current", 0, "port"), 65536),
    ],
)
def test_a_proposal_states_only_what_a_proposal_can(moved, tmp_path, path, value):
    data = json.loads(write_proposal(moved[0]))
    assert read(tmp_path, data) == moved[0]
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(InputError, match="must be "):
        read(tmp_path, data)


@pytest.mark.parametrize("to", ["aibrix", "compose", "kvcached"])  # others start all of a node
def test_a_step_that_starts_an_engine_where_no_gpu_is_is_refused(moved, tmp_path, to):
    data = json.loads(write_proposal(moved[0]))
    data["steps"][0]["replicas"][0]["gpus"] = ["n/77"]
    with pytest.raises(InputError, match="no GPUs of one node"):
        runbook(read(tmp_path, data), moved[1], to)


@pytest.mark.parametrize("entry", [3, {}, {"model": "org/a", "replica": 0}, {"model": []}])
def test_a_proposal_whose_plan_places_nothing_sensible_is_verified_as_nothing(
    moved, tmp_path, entry
):
    data = json.loads(write_proposal(moved[0]))
    data["plan"]["placements"][0] = entry
    with pytest.raises(InputError, match=r"plan.placements\[0\]"):
        verify(read(tmp_path, data), BEFORE, NOW)


def test_a_number_that_no_float_holds_is_refused_with_its_place(moved, tmp_path):
    text = write_proposal(moved[0])
    path = tmp_path / "proposal.json"
    assert '"seconds": 0.0' in text
    path.write_text(text.replace('"seconds": 0.0', '"seconds": 1e999'))
    with pytest.raises(InputError, match=r"plan\.seconds.* is larger than any number"):
        read_proposal(path)
