"""How memory is divided, and how things are named."""

import re
from dataclasses import replace

import pytest
from exported import objects
from hypothesis import given, settings
from hypothesis import strategies as st
from test_export_accepted import model, node, small

from kvplace.core.evaluation.static_split import divide
from kvplace.core.hardware import Fleet
from kvplace.core.models.model import Attention
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.export.commands import command, memory_arguments
from kvplace.export.flags import flag_pairs, keyword_values
from kvplace.export.layout import lay_out
from kvplace.export.names import labels, unique_names
from kvplace.export.runtimes.aibrix import aibrix_files

GIB = 2**30


@pytest.mark.parametrize(
    ("free", "loads", "least", "parts"),
    [
        (100, [1, 3], [0, 0], [25, 75]),
        (100, [0, 0], [0, 0], [50, 50]),
        (100, [1, 3], [40, 0], [40, 60]),  # 25 is below 40; the other takes the rest
        (100, [1, 1, 8], [30, 0, 0], [30, 7, 63]),  # 70 by 1 : 8 is 7.8 and 62.2
        (100, [1, 0], [0, 10], [90, 10]),
        (100, [1, 2], [60, 40], [60, 40]),
        (7, [1, 1, 1], [0, 0, 0], [3, 2, 2]),  # what rounding leaves goes to the first
    ],
)
def test_shares_derived_by_hand(free, loads, least, parts):
    assert divide(free, loads, least) == parts


@settings(deadline=None)
@given(st.data())
def test_shares_add_up_and_nobody_is_below_its_least(data):
    count = data.draw(st.integers(1, 6))
    least = data.draw(st.lists(st.integers(0, 2**36), min_size=count, max_size=count))
    extra = data.draw(st.integers(0, 2**37))
    load = st.floats(0, 1e300, allow_subnormal=False)
    loads = data.draw(st.lists(load, min_size=count, max_size=count))
    parts = divide(sum(least) + extra, loads, least)
    assert sum(parts) == sum(least) + extra
    assert all(part >= one for part, one in zip(parts, least, strict=True))


def test_a_layout_of_many_nodes_looks_at_each_replica_a_few_times(monkeypatch):
    count, asked = 200, []
    nodes = Fleet(tuple(node(f"n{at}", 1) for at in range(count)))
    models = tuple(model(f"m{at}", 20) for at in range(count))
    placed = Placement(tuple(Replica(f"m{at}", 0, (f"n{at}/0",)) for at in range(count)))
    real = Fleet._nodes_by_gpu
    monkeypatch.setattr(Fleet, "_nodes_by_gpu", lambda self: asked.append(1) or real(self))
    engines = lay_out(Problem(models, nodes), placed).engines
    assert [engine.gpus for engine in engines] == [(f"n{at}/0",) for at in range(count)]
    assert len(asked) <= 10 * count  # 40,000 where each node looks at all replicas


def parts(models, placed):
    """Return the KV bytes of each engine on one node of four GPUs of 79 GiB, in GiB."""
    replicas = [Replica(name, index, gpus) for name, index, gpus in placed]
    engines = lay_out(Problem(models, Fleet((node("n", 4),))), Placement(tuple(replicas))).engines
    return {engine.served_name: engine.kv_bytes / GIB for engine in engines}


def test_what_an_engine_over_two_gpus_cannot_use_goes_to_its_neighbours():
    """Weights per GPU: p 9, q 18 (36 over two), each with 1.5 of overhead; loads p 1, q 2, r 2.

    n/0 holds p and a shard of q: 79 - 10.5 - 19.5 = 49 GiB, for loads 1 and 2 / 2: 24.5 each.
    n/1 holds the other shard of q and r: 49 GiB for loads 1 and 2: q could have only 16.33, so
    that is what it gets on both, and p gets 49 - 16.33 = 32.67.
    """
    models = (model("p", 9), model("q", 36, degree=2, rate=2.0), model("r", 9, rate=2.0))
    placed = [("p", 0, ("n/0",)), ("q", 0, ("n/0", "n/1")), ("r", 0, ("n/1",))]
    assert parts(models, placed) == pytest.approx({"p": 98 / 3, "q": 49 / 3, "r": 98 / 3})


def test_a_chain_of_engines_over_two_gpus_leaves_nothing_that_one_of_them_could_use():
    """Each of n/0 to n/3 has 79 - 19.5 = 59.5 GiB left, 40 where two of p, q, r meet.

    n/1 holds p and q, n/2 q and r, of loads 1 : 1 : 3 per shard. n/2 is under most pressure: q
    gets 10 of its 40 and r 30; then p may have the other 30 of n/1, not its even share of 20.
    """
    rates = {"p": 1.0, "q": 1.0, "r": 3.0}
    models = tuple(model(name, 36, degree=2, rate=rate) for name, rate in rates.items())
    pairs = {"p": ("n/0", "n/1"), "q": ("n/1", "n/2"), "r": ("n/2", "n/3")}
    found = parts(models, [(name, 0, gpus) for name, gpus in pairs.items()])
    assert found == pytest.approx({"p": 30, "q": 10, "r": 30})


def test_no_engine_over_several_gpus_is_below_its_min_kv():
    """q must be left 30 GiB; n/1 would give it 49 / 3."""
    q = replace(model("q", 36, degree=2, rate=2.0), min_kv_bytes=30 * GIB)
    models = (model("p", 9), q, model("r", 9, rate=2.0))
    placed = [("p", 0, ("n/0",)), ("q", 0, ("n/0", "n/1")), ("r", 0, ("n/1",))]
    assert parts(models, placed) == pytest.approx({"p": 19, "q": 30, "r": 19})


@pytest.mark.parametrize(
    ("split", "tokens"),
    [
        ({}, 2 * 61.5),  # heads divide evenly: a rank holds half a token
        ({"kv_heads": 1}, 61.5),  # one head, whole on both ranks
        ({"kv_heads": 3}, 61.5 * 3 / 2),  # two of three heads on the fuller rank
        ({"attention": Attention.MLA}, 61.5),  # the latent vector is whole on both ranks
    ],
)
def test_tokens_of_sglang_are_counted_by_what_a_rank_holds(split, tokens):
    """Each of two GPUs has 79 - 16 - 1.5 = 61.5 GiB left; 8192 tokens of 128 KiB take 1 GiB."""
    one = replace(model("m", 32, degree=2, engine="sglang"), **split)
    problem = Problem((one,), Fleet((node("n", 2),)))
    (engine,) = lay_out(problem, Placement((Replica("m", 0, ("n/0", "n/1")),))).engines
    assert f"--max-total-tokens={int(tokens * 8192)}" in memory_arguments(engine)


def test_labels_are_plain_where_they_can_be():
    assert labels(["Qwen/Qwen3-8B", "gpt-oss-20b"]) == {
        "Qwen/Qwen3-8B": "qwen-qwen3-8b",
        "gpt-oss-20b": "gpt-oss-20b",
    }


def test_look_alikes_are_told_apart():
    names = ["gpt", "g\u0440t", "\u0261pt", "GPT", "gp t", "gpt\u200b", "gpt-", "", "x" * 300,
             "x" * 301]  # fmt: skip
    found = labels(names)
    assert len(set(found.values())) == len(names)
    assert all(re.fullmatch("[a-z][a-z0-9-]{0,39}", label) for label in found.values())


@given(st.lists(st.text(max_size=50), unique=True, max_size=20))
def test_labels_are_unique_whatever_the_names_and_their_order(names):
    found = labels(names)
    assert len(set(found.values())) == len(names)
    assert all(re.fullmatch("[a-z]([a-z0-9-]{0,38}[a-z0-9])?", one) for one in found.values())
    assert sorted(labels(names[::-1]).values()) == sorted(found.values())


def test_copies_never_take_another_model_s_name():
    wanted = [("a", 0), ("a", 1), ("a-r1", 0), ("a-r1", 1)]
    assert unique_names(wanted, ["a", "a-r1"]) == ["a", "a-r1x", "a-r1", "a-r1-r1"]


def test_ports_stay_when_another_model_comes():
    problem, placement = small()
    before = {engine.label: engine.port for engine in lay_out(problem, placement).engines}
    more = Problem((*problem.models, model("new", 1)), problem.fleet)
    added = Placement((*placement, Replica("new", 0, ("h100-0/3",))))
    after = {engine.label: engine.port for engine in lay_out(more, added).engines}
    assert {label: after[label] for label in before} == before


def test_gpus_that_engines_tie_together_are_one_group():
    fleet = Fleet((node("n", 5),))
    models = (model("p", 60, degree=2), model("q", 60, degree=2), model("r", 5))
    placement = Placement(
        (
            Replica("p", 0, ("n/0", "n/2")),
            Replica("q", 0, ("n/2", "n/3")),
            Replica("r", 0, ("n/1",)),
        )
    )
    (host,) = lay_out(Problem(models, fleet), placement).hosts
    assert [group.indices for group in host.groups] == [(0, 2, 3), (1,)]
    assert [[engine.label for engine in wave] for wave in host.waves()] == [["p", "r"], ["q"]]


def test_memory_of_vllm_and_sglang():
    """One GPU of 79 GiB; each engine holds 9 GiB and 1.5 GiB of overhead.

    58 GiB are left, 29 for each. vLLM: (9 + 29) / 79 = 0.48101. SGLang starts second where
    79 - 10.5 - 29 = 39.5 GiB are free: (9 + 29) / 39.5 = 0.962, of which 0.95 is the most; and
    29 GiB / 128 KiB = 237,568 tokens.
    """
    models = (model("a", 9), model("b", 9, engine="sglang"))
    problem = Problem(models, Fleet((node("n", 1),)))
    placement = Placement((Replica("a", 0, ("n/0",)), Replica("b", 0, ("n/0",))))
    first, second = lay_out(problem, placement).engines
    assert memory_arguments(first) == [
        f"--kv-cache-memory-bytes={29 * GIB}",
        "--gpu-memory-utilization=0.4810",
    ]
    assert memory_arguments(second, [first]) == [
        "--mem-fraction-static=0.9500",
        "--max-total-tokens=237568",
    ]
    assert command(first, "h")[:3] == ["vllm", "serve", "a"]
    assert command(second, "h")[:4] == ["python3", "-m", "sglang.launch_server", "--model-path=b"]


def test_the_floor_of_aibrix_is_one_request_of_the_longest_length_or_the_part():
    """A rank holds half of 65,536 x 128 KiB = 8 GiB, and the most is 79 - 15.5 - 1.5 = 62 GiB."""
    fleet, placement = Fleet((node("n", 2),)), Placement((Replica("m", 0, ("n/0", "n/1")),))
    for args, floor in (((), 1024), (("--max-model-len", "65536"), 4096),
                        (("--max-model-len=9999999",), 63488)):  # fmt: skip
        one = replace(model("m", 31, degree=2, args=args), min_kv_bytes=GIB)
        files = aibrix_files(lay_out(Problem((one,), fleet), placement))
        (claim,) = [o for o in objects(files) if o["kind"] == "ModelClaim"]
        assert claim["metadata"]["annotations"]["kvplace/kv-floor-per-gpu"] == f"{floor}Mi"
        assert "perGPU" not in claim["spec"]


def test_a_name_that_looks_like_a_scheme_is_no_url_of_aibrix():
    """Found by plan 7318 of those with hostile names."""
    fleet, placement = Fleet((node("n", 1),)), Placement((Replica("m", 0, ("n/0",)),))
    for source, url in (("日本//x", "huggingface://%E6%97%A5%E6%9C%AC//x"),
                        ("é://x", "huggingface://%C3%A9%3A//x"),
                        ("s3://b/é", "s3://b/%C3%A9")):  # fmt: skip
        files = aibrix_files(lay_out(Problem((model("m", 8, source=source),), fleet), placement))
        (claim,) = [o for o in objects(files) if o["kind"] == "ModelClaim"]
        assert claim["spec"]["artifactURL"] == url


def test_flags_as_keys_and_values():
    args = ("--max-model-len", "8192", "--no-enable-x", "--y", '--z={"a": 1}', "--name=b")
    assert flag_pairs(args, "m")["--max-model-len"] == "8192"
    assert keyword_values(args, "m") == {
        "max_model_len": 8192, "enable_x": False, "y": True, "z": {"a": 1}, "name": "b",
    }  # fmt: skip
    for wrong in (("8192",), ("--a", "1", "2"), ("--a", "--a")):
        with pytest.raises(InputError):
            flag_pairs(wrong, "m")
