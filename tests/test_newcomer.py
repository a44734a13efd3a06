"""What somebody new writes is understood, or answered with what to write."""

import io
import json
import re

import pytest

import kvplace
from kvplace.cli.main import main
from kvplace.errors import InputError, UnitError
from kvplace.formats.read import parse_fleet
from kvplace.units import parse_bytes, parse_duration

FLEET = {
    "schema": "kvplace.fleet/v1",
    "nodes": "1x2x80GiB",
    "models": [
        {
            "name": "a",
            "weights": "10GiB",
            "demand": {"requests_per_second": 1},
            "slo": {"latency": "2s"},
        },
    ],
}


def told(capsys, *call):
    assert main(list(call)) != 0
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "hint"), [("65gb", "65GB?"), ("65G", "65GiB?"), ("65gib", "65GiB?")]
)
def test_a_unit_in_another_spelling_is_answered_with_its_own(text, hint):
    with pytest.raises(UnitError, match=f"did you mean {hint.replace('?', '[?]')}"):
        parse_bytes(text)


def test_seconds_in_words_are_answered_with_s():
    with pytest.raises(UnitError, match=r"did you mean 10s\?"):
        parse_duration("10sec")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("tp", "'tensor_parallel'"),
        ("rps", "demand: {requests_per_second: ...}"),
        ("copies", "'replicas'"),
        ("ttft", "slo: {ttft: ...}"),
    ],
)
def test_a_key_of_other_tools_is_answered_with_ours(key, meant):
    wrong = {**FLEET, "models": [{**FLEET["models"][0], key: 1}]}
    told_ = re.escape(f"unknown key '{key}'; did you mean {meant}?")
    with pytest.raises(InputError, match=told_):
        kvplace.read(wrong)


def test_the_headers_of_a_spreadsheet_are_answered_once_each(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("Model,RPS,Weights (GB),slo_seconds\nm,1,10,2\n")
    with pytest.raises(InputError) as refused:
        kvplace.read(table, gpus="1x80GiB")
    assert [fault.message for fault in refused.value.faults] == [
        "unknown column 'Model'; did you mean 'name'?",
        "unknown column 'RPS'; did you mean 'requests_per_second'?",
        "unknown column 'Weights (GB)'; did you mean 'weights_gib'? (1 GB is 0.931 GiB)",
    ]


def test_a_problem_is_read_from_a_mapping_and_from_an_open_file():
    problem = kvplace.read(FLEET)
    assert problem.names == ["a"] or tuple(problem.names) == ("a",)
    text = kvplace.write_fleet(problem)
    assert kvplace.read(io.StringIO(text)) == problem
    with pytest.raises(InputError, match="schema"):
        kvplace.read({"nodes": "1x80GiB"})


def test_a_time_limit_is_a_number_or_a_text():
    problem = kvplace.read(FLEET)
    assert kvplace.solve(problem, time_limit="500ms").status == "optimal"
    with pytest.raises(UnitError):
        kvplace.solve(problem, time_limit="soon")


def test_rules_and_launches_are_made_from_public_names():
    problem = kvplace.read(
        {**FLEET, "models": [*FLEET["models"], {**FLEET["models"][0], "name": "b"}]}
    )
    rule = kvplace.Apart(models=("a", "b"), over="gpu")
    apart = kvplace.Problem(problem.models, problem.fleet, rules=(rule,))
    placed = {r.model: r.gpus for r in kvplace.solve(apart).placement}
    assert placed["a"] != placed["b"]
    launch = kvplace.Launch(args=("--enforce-eager",))
    assert launch.engine == "vllm"


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (["help", "plan"], "'kvplace plan --help' explains one"),
        (["validate", "x"], "'kvplace plan' checks a fleet file"),
        (["apply"], "'kvplace export' writes the files"),
        (["export", "p.json", "--to", "k8s", "-o", "d"], "did you mean 'kubernetes'"),
        (["model", "./nowhere"], "there is no such directory"),
        (["demand", "log.csv"], "did you mean 'trace log.csv'?"),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_one(call, hint, capsys):
    assert hint in told(capsys, *call)


def test_choices_are_listed_without_marks(capsys):
    assert "\\t" not in told(capsys, "export", "p.json")
    assert "\\t" not in told(capsys, "catalogue")


def test_an_end_without_a_plan_names_the_next_command(tmp_path, capsys):
    file = tmp_path / "f.yaml"
    file.write_text(kvplace.write_fleet(kvplace.read(FLEET)).replace("10.0GiB", "100GiB"))
    file.write_text(file.read_text().replace("weights: 10GiB", "weights: 100GiB"))
    assert "kvplace explain, with the same file" in told(capsys, "plan", str(file))


def test_an_overload_is_answered_with_as_many_copies_as_it_takes(tmp_path, capsys):
    file = tmp_path / "f.yaml"
    file.write_text(
        "schema: kvplace.fleet/v1\nnodes: 1x8xH100\nmodels:\n  - model: Qwen/Qwen3-8B\n"
        "    demand: {requests_per_second: 100, prompt_tokens: 900, output_tokens: 100}\n"
        "    slo: {ttft: 1s, tpot: 50ms}\n"
    )
    assert main(["plan", str(file)]) == 5
    err = capsys.readouterr().err
    most = int(err.partition("replicas: {min: 1, max: ")[2].partition("}")[0])
    file.write_text(file.read_text() + f"    replicas: {{min: 1, max: {most}}}\n")
    assert main(["plan", str(file), "-q"]) == 0


def test_a_path_that_is_not_there_is_no_name_on_the_hub(capsys):
    assert "./nothing-here: there is no such directory" in told(capsys, "model", "./nothing-here")


def test_a_target_without_its_percent_sign_is_answered_with_it(tmp_path, capsys):
    (tmp_path / "f.yaml").write_text(
        "schema: kvplace.fleet/v1\nnodes: 1x2xH100\nmodels: [{model: Qwen/Qwen3-8B}]\n"
    )
    said = told(capsys, "size", str(tmp_path / "f.yaml"), "--target", "occupancy<=80")
    assert "is 8,000 % of a GPU; write 80% if that is meant" in said


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (
            {"models": {"a": {"weights": "10GiB"}}},
            (
                "models, line 1: must be a list, not a mapping; write it like {name: org/model, "
                "weights: 14.958GiB, demand: {requests_per_second: 2.1}}, after a dash"
            ),
        ),
        ({"nodes": 2}, "write it like {name: h200, gpus: 8}, after a dash"),
        ({"rules": "pin"}, "write it like {rule: spread}, after a dash"),
        ({"models": ["org/model"]}, "models[0], line 1: must be a mapping, not the text"),
        (
            {"models": [FLEET["models"][0] | {"demand": 5}]},
            "must be a mapping, not the number 5; write it like {requests_per_second: 2.1}",
        ),
    ],
)
def test_a_value_of_another_form_is_answered_with_how_it_is_written(wrong, hint):
    with pytest.raises(InputError) as caught:
        parse_fleet(json.dumps(FLEET | wrong), "f.json")
    assert hint in str(caught.value)
