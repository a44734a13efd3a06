"""What is said of files that are right and will still not run."""

from dataclasses import replace

import pytest
from test_export_accepted import GIB, model, node

from kvplace.core.hardware import Fleet
from kvplace.core.models.model import Attention, Demand
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.export.advice import advice
from kvplace.export.files import EXPORTS
from kvplace.export.layout import lay_out


def laid_out(*models):
    """Lay models out on one node of two GPUs of 79 GiB, those of one degree on the first."""
    gpus = {1: ("n/0",), 2: ("n/0", "n/1")}
    placed = tuple(Replica(m.name, 0, gpus[m.tensor_parallel[0]]) for m in models)
    return lay_out(Problem(models, Fleet((node("n", 2),))), Placement(placed))


def test_nothing_is_said_of_what_will_run():
    layout = laid_out(model("a", 8), model("b", 90, degree=2, args=("--max-model-len", "8192")))
    assert [note for to in EXPORTS for note in advice(layout, to)] == []


def test_a_request_longer_than_the_part_of_its_engine():
    """79 - 9.5 - 19.5 = 50 GiB are left, 25 each; 262,144 tokens of 128 KiB take 32 GiB."""
    layout = laid_out(model("a", 8, args=("--max-model-len=262144",)), model("b", 18))
    (note,) = advice(layout, "shell")
    assert "'a' (32.0 GiB of 25.0 GiB);" in note
    assert "'b'" not in note
    assert advice(layout, "shell", "kvcached") == []
    assert advice(layout, "kvcached") == []


@pytest.mark.parametrize(
    ("split", "said"), [({}, False), ({"kv_heads": 1}, True), ({"attention": Attention.MLA}, True)]
)
def test_what_a_rank_holds_of_a_request_depends_on_the_attention(split, said):
    """79 - 46.5 = 32.5 GiB on each of two GPUs, for a request of 40 GiB."""
    one = model("m", 90, degree=2, args=("--max-model-len", str(40 * GIB // 131072)))
    assert bool(advice(laid_out(replace(one, **split)), "compose")) is said


@pytest.mark.parametrize("to", sorted(EXPORTS))
def test_a_limit_that_nobody_stated_is_said(to):
    """The mean request has 900 tokens; four times that is 3,600, in whole 1,024s 4,096."""
    asked = replace(model("a", 8), demand=Demand(1.0, prompt_tokens=800.0, output_tokens=100.0))
    found = advice(laid_out(replace(asked, max_model_len=4096)), to, "kvcached")
    said = [] if to == "prometheus" else [True]
    assert ["'a' (4,096 tokens)" in note for note in found] == said
    assert advice(laid_out(replace(asked, max_model_len=8192)), to, "kvcached") == []


@pytest.mark.parametrize("args", [(), ("--max-model-len", "auto"), ("8192",)])
def test_lengths_that_are_not_stated_are_not_judged(args):
    assert advice(laid_out(model("a", 8, args=args)), "shell") == []


def test_a_context_that_nobody_states_is_the_model_s_own():
    """79 - 77.5 = 1.5 GiB are left; 40,960 tokens of 128 KiB take 5 GiB."""
    layout = laid_out(model("Qwen/Qwen3-8B", 76))
    (note,) = advice(layout, "compose")
    assert "no max_model_len is planned" in note
    assert "'Qwen/Qwen3-8B' (5.0 GiB of 1.5 GiB), for 40,960 tokens" in note
    stated = replace(model("Qwen/Qwen3-8B", 76), max_model_len=4096)
    assert advice(laid_out(stated), "compose") == []


def test_shards_that_ray_may_put_on_one_gpu():
    layout = laid_out(*(model(name, 20, degree=2) for name in "abcd"), model("e", 1))
    (note,) = advice(layout, "ray-serve")
    assert "'a', 'b', 'c' and 1 more;" in note
    assert advice(layout, "shell") == []


def test_bursts_that_overflow_fixed_parts_are_said_with_the_ways_out():
    layout = laid_out(model("a", 8), model("b", 18))
    (note,) = advice(layout, "compose", bursting=["a"])
    assert "bursts of 'a' overflow" in note
    assert "kvplace simulate PLAN --pool static" in note
    assert "--objective forecast or --kv kvcached" in note
    (note,) = advice(layout, "llama-swap", bursting=["a"])
    assert "--kv" not in note
    for to, pool in (("compose", "kvcached"), ("aibrix", "static"), ("prometheus", "static")):
        assert advice(layout, to, pool, ["a"]) == []
