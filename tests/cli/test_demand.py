"""``kvplace demand``: tables, data, plots and refusals."""

import csv
import io
import json

import pytest

from kvplace.cli.main import main

pytest.importorskip("duckdb", reason="reading logs needs the extra 'logs'")

LOG = (
    "t_s,model,prompt_tokens,output_tokens\n0,a,10,1\n30,a,20,3\n60,b,5,5\n119,a,30,2\n180,b,5,5\n"
)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(LOG)
    return path


def run(capsys, *args) -> tuple[int, str, list[str]]:
    code = main(["demand", *(str(arg) for arg in args)])
    out, err = capsys.readouterr()
    return code, out, err.splitlines()


def test_the_table_ends_with_what_all_ask_for_together(log, capsys):
    code, out, err = run(capsys, "trace", log, "--quantile", "100%")
    assert (code, err) == (0, [])
    lines = out.splitlines()
    assert lines[1].split()[:3] == ["a", "0.03333", "0.01667"]
    assert lines[-1].startswith("2 models: 0.03333 requests/s together, 67 % of")


def test_csv_uses_the_names_of_the_models_table(log, capsys):
    code, out, _err = run(capsys, "trace", log, "--format", "csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {row["name"] for row in rows} == {"a", "b"}
    assert float(rows[0]["prompt_tokens"]) == 20


def test_json_gives_the_origin_of_every_figure(log, capsys):
    code, out, _err = run(capsys, "trace", log, "--format", "json", "--only", "a")
    assert code == 0
    (model,) = json.loads(out)["models"]
    assert set(model["origins"]) == {"requests_per_second", "prompt_tokens", "output_tokens"}
    assert "log.csv" in model["origins"]["prompt_tokens"]


def test_notes_go_to_stderr_and_can_be_left_out(tmp_path, capsys):
    path = tmp_path / "one.csv"
    path.write_text("t_s,input_tokens,output_tokens\n0,1,1\n60,1,1\n")
    assert "no model column" in run(capsys, "trace", path)[2][0]
    assert run(capsys, "trace", path, "--quiet")[2] == []


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_plot_is_written(suffix, log, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="a plot needs the extra 'plots'")
    plot = tmp_path / f"plot.{suffix}"
    code, _out, _err = run(capsys, "trace", log, "--plot", plot)
    assert code == 0
    assert plot.stat().st_size > 1000


def test_a_plot_takes_names_as_they_are(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="a plot needs the extra 'plots'")
    log, plot = tmp_path / "$x$.csv", tmp_path / "plot.svg"
    log.write_text("t,model\n0,a$\\frac$b\n60,_hidden\n70,<i>\n80,\u4f60\n")
    code, _out, err = run(capsys, "trace", log, "--plot", plot)
    assert (code, len(err)) == (0, 1)  # no tokens, which is said
    drawn = plot.read_text("utf-8")
    assert all(text in drawn for text in ("a$\\frac$b", "_hidden", "&lt;i&gt;", "$x$.csv"))


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["tracee", "x"], "did you mean 'trace'"),
        (["trace", "none.csv"], "no such file"),
        (["trace", "{log}", "--only", "c"], "'c' does not occur in it; it has a, b"),
        (["trace", "{log}", "--only", "x/A"], "'x/A' does not occur in it; did you mean 'a'?"),
        (["trace", "{log}", "--plot", "x.gif"], "a plot ends in .png, .svg, .pdf"),
        (["trace", "{log}", "--quantile", "150%"], "must be above 0 and up to 1"),
        (["trace", "{log}", "--window", "7d"], "--window does nothing for a log"),
        (["prometheus", "http://h", "--skip-bad"], "--skip-bad does nothing for Prometheus"),
        (["trace", "{log}", "--model-column", "nope"], "there is no column 'nope'"),
        (["prometheus", "here:9090"], "is no address"),
        (["prometheus", "http://h", "--match", "x"], "'x' is no label matcher"),
        (["prometheus", "http://h", "--password-file", "f"], "--password-file needs --user"),
        (["prometheus", "http://h", "--bearer-token-file", "none"], "none: there is no such file"),
    ],
)
def test_every_refusal_is_one_line(args, told, log, capsys):
    code, out, err = run(capsys, *(arg.format(log=log) for arg in args))
    assert (code, out) == (2, "")
    (line,) = err
    assert told in line


def test_a_missing_extra_says_what_to_install(log, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    assert run(capsys, "trace", log)[0] == 0  # a small log needs none
    log = log.rename(log.with_suffix(".parquet"))
    code, _out, err = run(capsys, "trace", log)
    assert code == 2
    assert "needs the extra 'logs': " in err[0]
    assert err[0].count("logs") > 1  # in the command, which uv writes in another way
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    code, _out, err = run(capsys, "prometheus", "http://h")
    assert code == 2
    assert "needs the extra 'prometheus': " in err[0]
