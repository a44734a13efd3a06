"""GPUs alike, and a fleet of them."""

import pytest

from kvplace.core.hardware import GPU, Fleet, Node, alike
from kvplace.errors import InputError


def test_gpus_alike_equal_gpus_made_one_by_one():
    one = GPU("a/0", "x", 80, 5, "l", {"slots": 2.0}, 1.5, 700.0)
    ids = ["b/0", "b/1", "c"]
    assert alike(one, ids) == tuple(
        GPU(name, "x", 80, 5, "l", {"slots": 2.0}, 1.5, 700.0) for name in ids
    )
    assert alike(one, []) == ()


def test_a_fleet_knows_where_its_gpus_are():
    nodes = (
        Node("a", (GPU("a/0", "x", 8), GPU("a/1", "x", 8, 1))),
        Node("b", (GPU("b/0", "y", 9, link="l"),), {"zone": "z"}),
    )
    fleet = Fleet(nodes)
    assert dict(fleet.position) == {"a/0": 0, "a/1": 1, "b/0": 2}
    assert fleet.usable_bytes == [8, 7, 9] == [gpu.usable_bytes for gpu in fleet.gpus]
    assert fleet.node_of("b/0") is nodes[1]
    assert fleet.node_of("c") is None is fleet.gpu("c")
    assert fleet.gpu("a/1") is nodes[0].gpus[1]
    assert [fleet.domain("b/0", key) for key in ("gpu", "node", "link", "zone")] == [
        "b/0", "b", "b/l", "z",
    ]  # fmt: skip
    assert fleet.domain("a/0", "zone") is None
    for key in ("gpu", "node", "link", "zone"):
        assert fleet.domains(key) == [fleet.domain(gpu.id, key) for gpu in fleet.gpus]


def test_ids_that_are_twice_are_named():
    with pytest.raises(InputError) as refused:
        Fleet((Node("a", (GPU("g", "x", 8),)), Node("b", (GPU("g", "x", 8), GPU("h", "x", 8)))))
    assert str(refused.value).count("'g'") == 1


@pytest.mark.parametrize("amount", [0.0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["price_per_hour", "watts"])
def test_prices_and_watts_must_be_above_0(name, amount):
    with pytest.raises(InputError, match=name):
        GPU("g", "x", 8, **{name: amount})
