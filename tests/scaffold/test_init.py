"""What ``init`` decides, from Python."""

import pytest
import yaml

import kvplace
from kvplace.cli.main import main
from kvplace.errors import InputError
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.read import parse_fleet

LOG = "timestamp,model,prompt_tokens,output_tokens\n" + "".join(
    f"{second},Qwen/Qwen3-8B,{300 + second},100\n" for second in range(0, 600, 2)
)


def test_a_log_becomes_demand_and_a_draft_that_can_be_read(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text(LOG)
    asked = kvplace.demand(log, quantile=1.0, time_unit="s")
    (model,) = asked.models
    assert model.model == "Qwen/Qwen3-8B"
    assert model.mean_rate == pytest.approx(0.5, rel=0.02)
    assert kvplace.demand(log, only=["Qwen/Qwen3-8B"], time_unit="s").models
    wishes = kvplace.Wishes(ttft_seconds=1.0, tpot_seconds=0.05)
    draft = kvplace.init("1x2xH100-SXM-80GB", demand=asked, wishes=wishes)
    problem = parse_fleet(draft.text)
    assert [m.name for m in problem.models] == ["Qwen/Qwen3-8B"]
    assert problem.models[0].demand.requests_per_second == pytest.approx(
        model.requests_per_second.value, rel=1e-5
    )
    assert (draft.running, draft.unread, draft.reserved) == ("", (), ())


def test_models_without_demand_are_standbys():
    draft = kvplace.init("8xH100-SXM-80GB", ["Qwen/Qwen3-8B"])
    assert parse_fleet(draft.text).models[0].demand.requests_per_second == 0
    assert "No demand was given" in draft.text


def test_one_model_may_be_named_without_a_list():
    assert kvplace.init("4x8xH100", "Qwen/Qwen3-8B") == kvplace.init("4x8xH100", ["Qwen/Qwen3-8B"])


def test_nothing_to_serve_is_said():
    with pytest.raises(InputError, match="which models"):
        kvplace.init("8xH100-SXM-80GB")


def test_windows_of_a_log_become_a_list_of_demands(tmp_path, capsys):
    log, fleet = tmp_path / "log.csv", tmp_path / "fleet.yaml"
    rows = []
    for hour in range(6):  # the one is asked in even hours, the other in odd ones
        one, other = ("Qwen/Qwen3-8B", "Qwen/Qwen3-14B")[:: 1 if hour % 2 else -1]
        rows += [f"{hour * 3600 + 30 * k},{one},{300 + hour},100" for k in range(120)]
        rows += [f"{hour * 3600 + 900 * k + 1},{other},200,50" for k in range(4)]
    rows.sort(key=lambda row: float(row.split(",")[0]))
    log.write_text("timestamp,model,prompt_tokens,output_tokens\n" + "\n".join(rows) + "\n")
    args = ["init", "--nodes", "1x2xH100-SXM-80GB", "--trace", str(log), "--time-unit", "s"]
    args += ["--step", "1h", "--windows", "2", "--ttft", "1s", "--tpot", "50ms"]
    assert main([*args, "-o", str(fleet)]) == 0
    problem = parse_fleet(fleet.read_text())
    assert len(problem.windows) == 2
    assert sum(window.weight for window in problem.windows) == pytest.approx(1.0)
    peaks = [
        max(model.windows, key=lambda name: model.windows[name].requests_per_second)
        for model in problem.models
    ]
    assert len(set(peaks)) == 2  # they peak in turn
    rates = [model.windows[at].requests_per_second for model, at in
             zip(problem.models, peaks, strict=True)]  # fmt: skip
    assert rates == pytest.approx([120 / 3600] * 2, rel=0.02)
    assert problem.goal == "pressure"
    assert parse_fleet(write_fleet(problem)) == problem
    capsys.readouterr()
    bare = ["init", "--nodes", "8xH100", "--models", "Qwen/Qwen3-8B", "--windows", "2"]
    assert main(bare) == 2
    assert "--windows needs --trace or --prometheus" in capsys.readouterr().err


def test_a_log_may_call_models_as_the_deployment_serves_them(tmp_path):
    compose = tmp_path / "compose.yaml"
    compose.write_text("""
services:
  a: {image: vllm/vllm-openai, command: --model Qwen/Qwen3-14B --served-model-name chat}
  code: {image: vllm/vllm-openai, command: --model Qwen/Qwen3-8B, deploy: {replicas: 2}}
""")
    log = tmp_path / "log.csv"
    rows = [f"{at},{model},900,100" for at in range(0, 600, 5) for model in ("chat", "code")]
    log.write_text("\n".join(["t_s,model,prompt_tokens,output_tokens", *rows]) + "\n")
    demand = kvplace.demand(log)
    wishes = kvplace.Wishes(ttft_seconds=1, tpot_seconds=0.05)
    draft = kvplace.init("1x4xH100", demand=demand, deployment=compose, wishes=wishes)
    assert "chat in the demand is Qwen/Qwen3-14B, as it is served" in draft.notes
    assert "code in the demand is Qwen/Qwen3-8B, as it is served" in draft.notes
    models = yaml.safe_load(draft.text)["models"]
    assert all(model["demand"]["requests_per_second"] > 0.1 for model in models)
    other = kvplace.Wishes(ttft_seconds=1, tpot_seconds=0.05, aliases={"code": "Qwen/Qwen3-14B"})
    draft = kvplace.init("1x4xH100", demand=demand, deployment=compose, wishes=other)
    assert any("Qwen/Qwen3-8B is a standby" in note for note in draft.notes)


def test_two_names_of_one_model_in_a_demand_are_not_dropped(tmp_path):
    log = tmp_path / "log.csv"
    rows = [f"{at},{model},900,100" for at in range(0, 600, 5) for model in ("chat", "code")]
    log.write_text("\n".join(["t_s,model,prompt_tokens,output_tokens", *rows]) + "\n")
    named = dict.fromkeys(("chat", "code"), "Qwen/Qwen3-14B")
    wishes = kvplace.Wishes(ttft_seconds=1, tpot_seconds=0.05, aliases=named)
    with pytest.raises(InputError, match="as 'chat' and as 'code'; to add them, pass --alias"):
        kvplace.init("1x4xH100", demand=kvplace.demand(log), wishes=wishes)
    # One of them is its own name, the other that under which it is served.
    log.write_text(log.read_text().replace("code", "Qwen/Qwen3-8B"))
    compose = tmp_path / "compose.yaml"
    command = "--model Qwen/Qwen3-8B --served-model-name chat"
    compose.write_text(f"services: {{a: {{image: vllm/vllm-openai, command: '{command}'}}}}")
    wishes = kvplace.Wishes(ttft_seconds=1, tpot_seconds=0.05)
    with pytest.raises(
        InputError, match="'chat' and as 'Qwen/Qwen3-8B'; to add them, pass --alias"
    ):
        kvplace.init("1x4xH100", demand=kvplace.demand(log), deployment=compose, wishes=wishes)
