"""What ``init`` decides, from Python."""

import pytest

import kvplace
from kvplace.errors import InputError
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


def test_nothing_to_serve_is_said():
    with pytest.raises(InputError, match="which models"):
        kvplace.init("8xH100-SXM-80GB")
