"""The digest of a problem is a promise: plans written by an earlier version keep theirs."""

import pytest

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas, Split
from kvplace.core.placement import Replica
from kvplace.core.problem import Problem
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.forbid import Forbid
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import Places
from kvplace.core.rules.reserve import Reserve
from kvplace.core.rules.spread import Spread
from kvplace.core.rules.together import Together

FLEET = Fleet(
    tuple(
        Node(
            f"n{n}",
            tuple(
                GPU(f"n{n}/{g}", f"type-{n}", 80 * 2**30, reserve_bytes=n, link=f"l{g // 2}")
                for g in range(4)
            ),
            labels={"zone": f"z{n}"},
            resources={"power": 3.5} if n else {},
        )
        for n in range(2)
    )
)
MODELS = (
    Model(
        "org/split",
        30 * 2**30,
        Demand(2.5, 300, 200),
        SLO(1.0, 0.05),
        131072,
        kv_bytes_per_sequence=4096,
        tensor_parallel=(1, 2),
        replicas=Replicas(1, 3, Split.CAPACITY),
        kv_heads=3,
        gpu_types=("type-1",),
        resources={"power": 0.5},
    ),
    Model("org/one", 7 * 2**30, Demand(0.75, 1000, 50), SLO(0.3, 0.02), 65536, min_kv_bytes=2**30),
)
RULES = (
    Pin(("org/one",), places=Places(nodes=("n1",))),
    Forbid(("org/*",), soft=2, places=Places(gpus=("n0/0",), labels=(("zone", "z0"),))),
    Reserve(places=Places(gpus=("n0/3",))),
    Together(("org/*",), soft=1, over="zone"),
    Apart(("org/*",), over="node"),
    Spread(("org/split",), over="link", max_skew=2),
    Limit(("org/*",), most=3, places=Places(nodes=("n0",))),
)
TEXTS = (
    "Pin(models=('org/one',), soft=None, places=Places(gpus=(), nodes=('n1',), labels=()))",
    (
        "Forbid(models=('org/*',), soft=2, "
        "places=Places(gpus=('n0/0',), nodes=(), labels=(('zone', 'z0'),)))"
    ),
    "Reserve(models=('*',), soft=None, places=Places(gpus=('n0/3',), nodes=(), labels=()))",
    "Together(models=('org/*',), soft=1, over='zone')",
    "Apart(models=('org/*',), soft=None, over='node')",
    "Spread(models=('org/split',), soft=None, over='link', max_skew=2)",
    (
        "Limit(models=('org/*',), soft=None, over='gpu', most=3, "
        "places=Places(gpus=(), nodes=('n0',), labels=()))"
    ),
)


def test_the_text_of_every_rule_in_a_digest_is_frozen():
    assert tuple(rule.digest_text() for rule in RULES) == TEXTS


@pytest.mark.parametrize(
    ("objective", "digest"),
    [
        ("occupancy", "c7c567e8dd657c0f015732ed0fec2e697cbc6674045aa136a75d6e6aba5b9205"),
        ("tokens", "ca79a1db764939ff9e8355fa41af31c053c7e943daf81b5d80b13f1cc621c15b"),
        ("requests", "31c481127dda253ac3158a8a47a54b321323b5930a523e380f3f3990761beff3"),
    ],
)
def test_digests_of_version_0_1_hold(objective, digest):
    assert Problem(MODELS, FLEET, objective, RULES).digest == f"sha256:{digest}"


def test_a_rule_knows_no_more_than_its_context():
    class Small:
        def __init__(self):
            self.fleet = FLEET
            self.index_of = {"org/split": 0, "org/one": 1}

        def domains_allowed(self, _index, key):
            return tuple(sorted({FLEET.domain(gpu.id, key) for gpu in FLEET.gpus}))

    copies = {
        "org/one": [Replica("org/one", 0, ("n0/0",))],
        "org/split": [Replica("org/split", 0, ("n0/0",))],
    }
    broken = {rule.kind for rule in RULES for _ in rule.breaches(Small(), copies)}
    assert broken == {"pin", "forbid", "apart"}
    assert not [fault for rule in RULES for fault in rule.faults(Small())]
