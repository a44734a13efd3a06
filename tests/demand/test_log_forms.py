"""Logs as gateways and benchmarks export them: columns by any spelling, units, counts, sums."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.demand.logs.clock import TimeFacts, time_unit
from kvplace.demand.logs.columns import find_columns
from kvplace.demand.logs.grouped import DatabaseLog
from kvplace.demand.logs.plain import PlainLog
from kvplace.demand.logs.traces import read_trace
from kvplace.demand.series import DemandSeries
from kvplace.demand.summary import summarise
from kvplace.errors import InputError

LITELLM_USAGE = """Date,Team,Model,Spend,Requests,Successful,Prompt Tokens,Completion Tokens
2026-07-01,core,qwen3-8b,0.01,8640,8640,8640000,864000
2026-07-02,core,qwen3-8b,0.01,8640,8640,8640000,864000
"""
LITELLM_SPEND = """request_id,total_tokens,prompt_tokens,completion_tokens,startTime,endTime,model
r1,1100,1000,100,2026-08-12 14:30:00.123,2026-08-12 14:30:04,qwen3-8b
r2,1100,1000,100,2026-08-12 14:31:30.123,2026-08-12 14:31:34,qwen3-8b
"""
OPENAI = """start_time,end_time,num_model_requests,model,input_tokens,output_tokens
1782864000,1782950400,8640,qwen3-8b,8640000,864000
"""
OPENROUTER = """generation_id,created_at,tokens_prompt,tokens_completion,model_permaslug
g1,2026-07-01 00:00:10,1000,100,qwen3-8b
g2,2026-07-01 00:02:10,1000,100,qwen3-8b
"""
LANGFUSE = """id,startTime,timestamp,model,inputTokens,outputTokens
1,2026-07-01T00:00:10Z,2026-07-01T00:00:10Z,qwen3-8b,1000,100
2,2026-07-01T00:02:10Z,2026-07-01T00:02:10Z,qwen3-8b,1000,100
"""
HELICONE = """request_id,request_created_at,request_model,prompt_tokens,completion_tokens
1,2026/07/01 00:00:10,qwen3-8b,1000,100
2,2026/07/01 00:02:10,qwen3-8b,1000,100
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,qwen3-8b,1000,100,1100,Conversation log
45,qwen3-8b,1000,100,1100,API log
"""
SEMICOLONS = "t;model;prompt_tokens;output_tokens\n0;qwen3-8b;1000;100\n60;qwen3-8b;1000;100\n"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        (LITELLM_USAGE, 0.1),
        (LITELLM_SPEND, 2 / 90),
        (OPENAI, 0.1),
        (OPENROUTER, 2 / 120),
        (LANGFUSE, 2 / 120),
        (HELICONE, 2 / 120),
        (BURSTGPT, 2 / 40),
        (SEMICOLONS, 2 / 60),
    ],
    ids=["litellm usage", "litellm spend", "openai", "openrouter", "langfuse", "helicone",
         "burstgpt", "semicolons"],
)  # fmt: skip
def test_columns_are_found_by_any_spelling(text, rate, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(text)
    (model,) = summarise(read_trace(path)).models
    assert model.model == "qwen3-8b"
    assert model.mean_rate == pytest.approx(rate)
    assert (model.prompt_tokens.value, model.output_tokens.value) == (1000, 100)


def documents(tmp_path, *rows, name="log.json"):
    path = tmp_path / name
    if name.endswith(".json"):
        path.write_text(json.dumps(rows[0] if len(rows) == 1 else list(rows)))
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows))
    return summarise(read_trace(path))


def test_spans_of_opentelemetry(tmp_path):
    lines = [
        json.dumps({"startTimeUnixNano": str(1_780_000_000_000_000_000 + i * 10**10), "attributes":
                    {"gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 100,
                     "gen_ai.usage.output_tokens": 10}})
        for i in range(60)
    ]  # fmt: skip
    (tmp_path / "spans.jsonl").write_text("\n".join(lines))
    found = summarise(read_trace(str(tmp_path / "spans.jsonl")))
    (model,) = found.models
    tokens = (model.prompt_tokens.value, model.output_tokens.value)
    assert (model.model, *tokens) == ("m", 100, 10)
    assert model.mean_rate == pytest.approx(0.1, rel=0.2)


def test_what_a_log_says_of_failures_and_caches_is_named_as_not_read(tmp_path):
    head = "timestamp,model,input_tokens,output_tokens,cache_read_input_tokens,Status Code"
    rows = [f"2026-06-01T08:{i:02}:00Z,m,10,5,90,{'500' if i % 2 else '200'}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join([head, *rows]))
    notes = read_trace(str(tmp_path / "t.csv")).notes
    assert "'cache_read_input_tokens' is not added to the prompt tokens" in " ".join(notes)
    assert "'Status Code' is not looked at: requests that failed count" in " ".join(notes)


def test_dates_in_another_order_are_answered_with_the_form_that_is_read(tmp_path):
    (tmp_path / "t.csv").write_text("date,model\n06/01/2026 08:00:00,m\n")
    with pytest.raises(InputError, match="times are read as 2026-06-01T08:00:00Z or as numbers"):
        read_trace(str(tmp_path / "t.csv"))


def test_two_columns_of_one_name_are_refused(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("timestamp,model,model,,\n2026-03-01T00:00:00Z,a,b,,\n")
    with pytest.raises(InputError, match="two columns are named 'model'; rename or leave out one"):
        read_trace(log)


def test_a_json_array_with_nested_usage(tmp_path):
    rows = [
        {"startTime": f"2026-08-12T14:30:{second}Z", "model": "m",
         "usage": {"prompt_tokens": 10, "completion_tokens": 2}}
        for second in ("00", "40")
    ]  # fmt: skip
    (model,) = documents(tmp_path, *rows).models
    assert (model.prompt_tokens.value, model.output_tokens.value) == (10, 2)


def test_pages_of_a_usage_api(tmp_path):
    bucket = {"start_time": 1782864000, "end_time": 1782867600,
              "results": [{"model": "m", "num_model_requests": 3600, "input_tokens": 7200,
                           "output_tokens": 3600}]}  # fmt: skip
    (model,) = documents(tmp_path, {"object": "page", "data": [bucket]}).models
    assert model.mean_rate == 1
    assert model.prompt_tokens.value == 2


def test_a_workload_with_requests_within_windows(tmp_path):
    rows = [
        {"timestamp": t, "requests": [{"prompt_length": 8, "output_length": 2, "model": "m"}] * 2}
        for t in (1782864000000, 1782864030000)
    ]
    (model,) = documents(tmp_path, *rows, name="w.jsonl").models
    assert model.mean_rate == pytest.approx(4 / 30)
    assert model.prompt_tokens.value == 8


BAILIAN = {"chat_id": 1, "parent_chat_id": -1, "input_length": 5, "output_length": 1}


def test_bailian_is_in_seconds_and_says_so(tmp_path):
    rows = [{**BAILIAN, "timestamp": t} for t in (0.1, 61.5, 121.9)]
    summary = documents(tmp_path, *rows, name="t.jsonl")
    assert summary.models[0].mean_rate == pytest.approx(3 / 121.8)
    assert any("seconds" in note for note in summary.notes)


MOONCAKE = ["timestamp", "input_length", "output_length", "hash_ids"]


@pytest.mark.parametrize(
    ("facts", "unit"),
    [
        (TimeFacts(True, 0, 3_600_000, 12_000, True), "ms"),
        (TimeFacts(True, 0, 90_000, 3, True), "ms"),
        (TimeFacts(True, 0.5, 600, 1_000, False), "s"),
        (TimeFacts(True, 0, 600, 1_000, True), "s"),
        (TimeFacts(True, 0, 30_000, 1_000, True), None),
        (TimeFacts(True, 0, 122, 3, True), None),
    ],
)
def test_the_mooncake_form_is_told_apart_by_density_or_asked(facts, unit):
    if unit is None:
        with pytest.raises(InputError, match="--time-unit"):
            time_unit("timestamp", MOONCAKE, facts, None, "log")
        return
    found, note = time_unit("timestamp", MOONCAKE, facts, None, "log")
    assert (found, "dense" in note) == (unit, True)
    assert time_unit("timestamp", MOONCAKE, facts, "us", "log") == ("us", None)


@pytest.mark.parametrize(
    ("name", "unit"),
    [("t_ms", "ms"), ("timestampMs", "ms"), ("created_at_seconds", "s"), ("startTimeNs", "ns")],
)
def test_a_name_tells_its_unit(name, unit):
    columns = find_columns(["model", name], "log")
    assert columns.time == name
    assert time_unit(name, [name], TimeFacts(True, 0, 1, 2), None, "log") == (unit, None)


@pytest.mark.parametrize(("power", "unit"), [(0, "s"), (3, "ms"), (6, "us"), (9, "ns")])
def test_times_since_1970_are_known_by_their_size(power, unit):
    facts = TimeFacts(True, 1.7e9 * 10**power, 1.8e9 * 10**power, 9)
    found, note = time_unit("when", ["when"], facts, None, "log")
    assert found == unit
    assert "1970" in note


def test_rows_that_are_sums_are_not_taken_for_requests(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(OPENAI.replace("num_model_requests", "how_often"))
    with path.open("a") as stream:
        stream.write("1782950400,1783036800,8640,qwen3-8b,8640000,864000\n")
    with pytest.raises(InputError, match="--count-column"):
        read_trace(path)
    assert read_trace(path, count_column="how_often").requests.sum() == 2 * 8640


def test_what_was_not_found_is_said(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("t,model\n0,a\n60,a\n")
    assert any("no column of prompt and output tokens" in n for n in read_trace(path).notes)


def test_a_short_log_has_no_mean_above_its_peak(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("t,model\n10,a\n70,a\n")
    (model,) = summarise(read_trace(path)).models
    assert model.mean_rate == model.peak_rate == model.requests_per_second.value == 2 / 60


TIMES = st.lists(st.integers(0, 2000), min_size=2, max_size=30).filter(lambda t: len(set(t)) > 1)


@settings(deadline=None)
@given(TIMES, st.sampled_from([0.5, 0.95, 1.0]))
def test_no_figure_of_a_row_contradicts_another(tmp_path_factory, times, quantile):
    path = tmp_path_factory.mktemp("log") / "log.csv"
    path.write_text("t,model\n" + "".join(f"{t},m{t % 2}\n" for t in times))
    series: DemandSeries = read_trace(path)
    for model in summarise(series, quantile).models:
        assert model.mean_rate <= model.peak_rate * (1 + 1e-9)
        assert model.requests_per_second.value <= model.peak_rate
        assert model.joint_peak_rate <= model.peak_rate * (1 + 1e-9)


def _plain(groups):
    grouped, bad = groups
    return [(key, list(map(str if key == "m" else float, v))) for key, v in grouped.items()], bad


CELLS = st.sampled_from(["0", "1.5", "30", "60", "600", "-1", "", "x", "nan", "1e400"])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(CELLS, st.sampled_from("ab"), CELLS), min_size=1, max_size=12))
def test_with_and_without_the_database_a_log_says_the_same(tmp_path_factory, rows):
    pytest.importorskip("duckdb", reason="the database is in the extra 'logs'")
    path = tmp_path_factory.mktemp("log") / "log.csv"
    path.write_text("t,model,prompt_tokens\n" + "".join(",".join(row) + "\n" for row in rows))
    told = []
    for kind in (PlainLog, DatabaseLog):
        log = kind(path)
        try:
            log.define(find_columns(log.names, "log"), "m", 1.0)
            told.append((*_plain(log.grouped(60.0)), log.bad_rows(3), log.own_step()))
        finally:
            log.close()
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[1]", "{", '{"data": [[]]}', "[" * 10_000, '[{"t": 1}', "null", '"x"', "\xff"],
)
def test_any_json_is_answered(text, tmp_path):
    path = tmp_path / "log.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError):
        read_trace(path)


@settings(deadline=None)
@given(st.binary(max_size=100), st.sampled_from(["csv", "tsv", "jsonl", "json", "csv.gz"]))
def test_any_file_is_answered(tmp_path_factory, data, kind):
    path = tmp_path_factory.mktemp("log") / f"log.{kind}"
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_trace(path)
