"""Names: what is wrong with one, and that no problem holds one that no file would."""

from dataclasses import replace

import pytest

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.window import Window
from kvplace.core.names import wrong_in_name
from kvplace.core.problem import Problem
from kvplace.errors import InputError

WRONG = ["", " a", "a ", "a\n", "a\x00b", "\u202ea", "a" * 257]
PROBLEM = Problem(
    (Model("a", 1, Demand(1.0), SLO(latency_seconds=1.0)),),
    Fleet((Node("n", (GPU("n/0", "T", 2**40),)),)),
)


@pytest.mark.parametrize("text", WRONG)
def test_what_no_file_may_hold_is_wrong(text):
    assert wrong_in_name(text)


def test_plain_names_are_sound():
    assert not any(map(wrong_in_name, ["Qwen/Qwen3-8B", "gpt-oss 20b", "é"]))


@pytest.mark.parametrize("text", WRONG)
def test_no_problem_holds_a_name_that_no_file_may_hold(text):
    model, (node,) = PROBLEM.models[0], PROBLEM.fleet.nodes
    gpu = replace(node.gpus[0], id=text)
    made = [
        ("models[1].name", {"models": (model, replace(model, name=text))}),
        ("nodes[0].name", {"fleet": Fleet((replace(node, name=text),))}),
        ("gpus[0].id", {"fleet": Fleet((replace(node, gpus=(gpu,)),))}),
    ]
    if text:  # a window without a name is none anyway
        made.append(("windows[0].name", {"windows": (Window(text),)}))
    for path, changed in made:
        with pytest.raises(InputError) as caught:
            replace(PROBLEM, **changed)
        assert (path, wrong_in_name(text)) in [(f.path, f.message) for f in caught.value.faults]
