"""Data made by hand: its fields have the types that they state, whatever library numbers are of."""

import numpy as np
import pytest

import kvplace
from kvplace.units import GIB


def model(**fields):
    """Return a model of numbers that numpy made."""
    made = {
        "name": "m", "weights_bytes": np.int64(10 * GIB), "tensor_parallel": [1, 2],
        "demand": kvplace.Demand(np.float32(1.5), np.int64(10), 5), "slo": kvplace.SLO(1, 0.5, 5),
        "kv_bytes_per_token": np.int32(1000), "gpu_types": np.array(["T"]),
        "replicas": kvplace.Replicas(np.int64(1), np.int64(2)), "attention": "grouped",
    }  # fmt: skip
    return kvplace.Model(**{**made, **fields})


def test_numbers_of_other_libraries_become_python_s_own_and_lists_tuples(tmp_path):
    made = model()
    assert made == kvplace.Model(
        "m", 10 * GIB, kvplace.Demand(1.5, 10, 5), kvplace.SLO(1, 0.5, 5), 1000,
        tensor_parallel=(1, 2), replicas=kvplace.Replicas(1, 2), gpu_types=("T",),
    )  # fmt: skip
    assert {type(made.weights_bytes), type(made.kv_bytes_per_token)} == {int}
    assert type(made.demand.requests_per_second) is float
    assert made.attention is kvplace.Attention.GROUPED
    gpus = [kvplace.GPU(f"n/{i}", "T", np.int64(80 * GIB)) for i in range(2)]
    fleet = kvplace.Fleet((kvplace.Node("n", gpus),))
    rule = kvplace.Limit(["m"], soft=np.int64(1), most=np.int64(1))
    problem = kvplace.Problem((made,), fleet, "requests", (rule,))
    result = kvplace.solve(problem, seed=np.int64(3), iterations=np.int64(9))
    kvplace.write_plan(result, tmp_path / "p.json")
    assert kvplace.load_plan(tmp_path / "p.json").value == result.value


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: model(weights_bytes=15.2 * GIB),
            "Model.weights_bytes: must be a whole number, not 16320875724.8; round\\(\\) makes one",
        ),
        (lambda: model(weights_bytes=True), "must be a whole number, not True"),
        (lambda: model(weights_bytes="8GiB"), "must be a whole number, not '8GiB'"),
        (lambda: model(demand=None), "Model.demand: must be of type Demand, not None"),
        (lambda: model(attention="mqa"), "must be one of grouped, mla, not 'mqa'"),
        (lambda: model(tensor_parallel=2), "must be a list or a tuple, not 2"),
        (lambda: model(resident=((1,),)), "must be a list or a tuple of 2"),
        (lambda: model(resources=[1]), "must be a mapping"),
        (lambda: kvplace.Apart("ab"), "Apart.models: must be a list or a tuple, not 'ab'"),
        (lambda: kvplace.Apart(()), "a rule apart names no model; '\\*' stands for all"),
        (lambda: kvplace.Apart(soft=0), "the tier of a soft rule is 1 to 1,000,000, not 0"),
        (lambda: kvplace.Replica("m", 0, "n/0"), "Replica.gpus: must be a list or a tuple"),
        (lambda: kvplace.Node("n", (None,)), "Node.gpus: each must be of type GPU"),
        (lambda: kvplace.Fleet((1, 2)), r"Fleet.nodes: each must be of type Node, not \(1, 2\)"),
        (lambda: kvplace.Placement((1, 2)), "Placement.replicas: each must be of type Replica"),
        (lambda: kvplace.Placement({"m": "n/0"}), "Placement.replicas: must be a list or a tuple"),
        (
            lambda: kvplace.Placement(None),
            "Placement.replicas: must be a list or a tuple, not None",
        ),
        (
            lambda: kvplace.Problem("m", None),
            r"Problem.models: must be a list[^\0]*Problem.fleet: ",
        ),
        (lambda: kvplace.Problem([1], None), "Problem.models: each must be of type Model"),
        (lambda: kvplace.Objective("speed"), "there is no objective 'speed'; known: requests, "),
    ],
)
def test_other_types_are_refused_by_the_field_s_name(make, told):
    for _ in range(2):  # what was refused once is not taken for right the next time
        with pytest.raises(kvplace.InputError, match=told):
            make()


def test_lists_of_data_are_as_good_as_tuples():
    replica, gpu = kvplace.Replica("m", 0, ("n/0",)), kvplace.GPU("n/0", "T", 80 * GIB)
    assert kvplace.Placement([replica]) == kvplace.Placement(r for r in [replica])
    node = kvplace.Node("n", (gpu,))
    assert kvplace.Fleet([node]) == kvplace.Fleet((node,))
    made, fleet = (
        model(tensor_parallel=1 * (1,), replicas=kvplace.Replicas()),
        kvplace.Fleet([node]),
    )
    listed = kvplace.Problem([made], fleet, "requests", [kvplace.Apart(("m",))])
    assert listed == kvplace.Problem((made,), fleet, "requests", (kvplace.Apart(("m",)),))


@pytest.mark.parametrize("closed", [True, False])
def test_a_stream_that_cannot_be_read_is_refused(closed, tmp_path):
    path = tmp_path / "fleet.yaml"
    path.write_bytes(b"schema: \xff\n")
    with path.open(encoding="utf-8") as stream:
        if closed:
            stream.close()
        with pytest.raises(kvplace.InputError, match="it cannot be read"):
            kvplace.read(stream)
