"""Random plans with names that want to break out of whatever they are put into."""

import random

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.launch import Launch
from kvplace.core.models.model import Attention, Model, Replicas
from kvplace.core.names import wrong_in_name
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem

GIB = 2**30
PIECES = [
    " ", "  ", "'", '"', "`", "\\", "$(touch /tmp/kvplace-broke-out)", "`id`", "${HOME}", "$HOME",
    "${PORT}", "${MODEL_ID}", "$(VAR)", "$$", "\n", "\n# x\n", "\r\n", "\t", "/", "//", "../", "..",
    ".", ":", ": ", "- ", "#", " #", "&a", "*a", "!!python/object", "%", "@", "|", ">", "{", "}",
    "[", "]", ",", "?", "~", "=", ";", "&&", "||", "<", "(", ")", "!", "^", "---", "...",
    "\x1b[31m",
    "\x07", "\x7f", "\u2028", "\u202e", "\u200b", "\ufeff", "é", "é", "日本", "😀", "gpt", "GPT",
    "g\u0440t", "\u0261pt", "gpt-r1", "-r1", "-", "--", "--host=evil", "-x", "null", "true", "no",
    "0", "1e3",
    "0o17", "0x1F", "1_000", "12:30", "<script>alert(1)</script>", "</script>", "{{7*7}}", "{%",
    "org/model", "a", "Z", "'\"'\"'", "x" * 200, "%s", "%d", "\\n", "EOF",
]  # fmt: skip


def hostile_name(chance, unique):
    """Return a name that was not given before, of up to 250 characters that files may hold."""
    while True:
        name = "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 4)))
        if len(name) <= 250 and not wrong_in_name(name) and name not in unique:
            unique.add(name)
            return name


def hostile_plan(seed):
    """Return a problem and a valid placement: one to three nodes, replicas, tensor parallel."""
    chance = random.Random(seed)
    names, nodes = set(), []
    for _ in range(chance.randint(1, 3)):
        name = hostile_name(chance, names)
        gpus = chance.choice([1, 2, 3, 4, 8])
        nodes.append(Node(name, tuple(GPU(f"{name}/{i}", "H100", 80 * GIB) for i in range(gpus))))
    free = {gpu.id: 79 for node in nodes for gpu in node.gpus}
    models, replicas, used = [], [], set()
    engines = chance.choice([("vllm",), ("vllm",), ("vllm", "sglang")])
    uniform = chance.random() < 0.5  # one degree for all of a node: what AIBrix can do
    for _ in range(chance.randint(1, 8)):
        name = hostile_name(chance, used)
        node = chance.choice(nodes)
        degree = 1 if uniform else chance.choice([1, 1, 1, 2, 4, 8])
        copies = chance.choice([1, 1, 2, 3])
        size = chance.randint(1, 8)
        placed = []
        for _ in range(copies):
            room = [
                gpu.id for node in nodes for gpu in node.gpus
                if free[gpu.id] > size + 2 and not any(gpu.id in taken for taken in placed)
            ]  # fmt: skip
            here = [g for g in room if g in {gpu.id for gpu in node.gpus}]
            if len(here) < degree:
                here = room if degree == 1 else []
            if len(here) < degree or not here:
                break
            chosen = tuple(chance.sample(here, degree))
            for gpu in chosen:
                free[gpu] -= size + 2
            placed.append(chosen)
        if not placed:
            used.discard(name)
            continue
        models.append(_model(chance, name, size * GIB, degree, len(placed), engines))
        replicas += [Replica(name, index, gpus) for index, gpus in enumerate(placed)]
    if not models:
        return hostile_plan(seed + 1_000_000)
    problem = Problem(tuple(models), Fleet(tuple(nodes)))
    placement = Placement(tuple(replicas))
    assert evaluate(problem, placement).valid
    return problem, placement


def _model(chance, name, weights, degree, copies, engines):
    launch = Launch(
        engine=chance.choice(engines),
        source=chance.choice(["", "", "org/checkpoint", "s3://bucket/a b", "/models/a b"]),
        image="registry.example/engine:1",
        args=chance.choice([(), ("--max-model-len", "8192"), ("--enable-x", "--note=a $(b) 'c'")]),
        env=chance.choice([(), (("NOTE", "a $b 'c' \"d\" $(e)"),), (("lower_case", "1"),)]),
        secrets=chance.choice([(), ("HF_TOKEN",)]),
    )
    return Model(
        name,
        weights * degree,
        Demand(chance.choice([0.0, 0.5, 3.0]), 800, 100),
        SLO(1.0, 0.03),
        131072,
        overhead_bytes=GIB,
        min_kv_bytes=chance.choice([0, GIB // 2]),
        tensor_parallel=(degree,),
        replicas=Replicas(1, copies),
        **chance.choice([{}, {"kv_heads": 2}, {"attention": Attention.MLA}]),
        launch=launch,
    )
