"""How memory is divided, and how things are named."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_export_accepted import model, node, small

from kvplace.core.hardware import Fleet
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.export.commands import command, memory_arguments
from kvplace.export.flags import flag_pairs, keyword_values
from kvplace.export.layout import lay_out
from kvplace.export.names import labels, unique_names
from kvplace.export.split import divide

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


def test_flags_as_keys_and_values():
    args = ("--max-model-len", "8192", "--no-enable-x", "--y", '--z={"a": 1}', "--name=b")
    assert flag_pairs(args, "m")["--max-model-len"] == "8192"
    assert keyword_values(args, "m") == {
        "max_model_len": 8192, "enable_x": False, "y": True, "z": {"a": 1}, "name": "b",
    }  # fmt: skip
    for wrong in (("8192",), ("--a", "1", "2"), ("--a", "--a")):
        with pytest.raises(InputError):
            flag_pairs(wrong, "m")
