"""``plan``, ``refine`` and ``check`` on files, from arguments to exit code."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import kvplace
from kvplace.cli import began
from kvplace.cli.main import main
from kvplace.formats import read as reading
from kvplace.solver import clock

EXAMPLE = str(Path(__file__).parents[2] / "examples/open-models.yaml")
SPREADSHEET = str(Path(__file__).parents[2] / "examples/models.csv")


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    assert main(["plan", EXAMPLE, "--quiet", "--format", "json", "--output", str(path)]) == 0
    return path


def test_the_table_goes_to_stdout_and_nothing_to_stderr(capsys):
    assert main(["plan", EXAMPLE]) == 0
    captured = capsys.readouterr()
    assert "16 models on 8 GPUs" in captured.out.splitlines()[-1]
    told = captured.err.splitlines()
    assert all(line.startswith(("kvplace: warning: ", "kvplace: note: ")) for line in told)
    assert "\x1b" not in captured.out


def test_json_on_stdout_is_the_plan_and_the_summary_goes_to_stderr(capsys):
    assert main(["plan", EXAMPLE, "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["schema"] == "kvplace.plan/v1"
    first, *notes = captured.err.splitlines()
    assert first.startswith("max pressure ")
    assert all(line.startswith("kvplace: note: ") for line in notes)


def test_notes_of_every_verb_are_called_so():
    for path in (Path(__file__).parents[2] / "src/kvplace/cli").rglob("*.py"):
        for line in path.read_text().splitlines():
            if "{note}" in line and "say(" in line:
                # those of a problem say themselves whether they are warnings
                own = path.name == "output.py" and line.strip() == 'say(f"kvplace: {note}")'
                assert own or "kvplace: note: {note}" in line, f"{path.name}: {line}"


def test_csv_has_one_row_per_shard(capsys):
    assert main(["plan", EXAMPLE, "--format", "csv", "--quiet"]) == 0
    captured = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(captured.out)))
    assert len(rows) == 17  # 16 models, one of them over two GPUs
    assert list(rows[0])[:3] == ["model", "replica", "shard"]
    assert captured.err == ""


def test_output_writes_the_file_and_nothing_else(plan_file, capsys):
    assert kvplace.read_plan(plan_file).placement
    assert [path.name for path in plan_file.parent.iterdir()] == ["plan.json"]
    assert capsys.readouterr().out == ""


def test_a_table_in_a_file_has_no_colour(tmp_path):
    path = tmp_path / "plan.txt"
    assert main(["plan", EXAMPLE, "--quiet", "--output", str(path)]) == 0
    assert "\x1b" not in path.read_text("utf-8")


def test_a_file_that_cannot_be_written_is_one_line(capsys):
    assert main(["plan", EXAMPLE, "--quiet", "--output", "/proc/no/such/place"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("objective", ["requests", "tokens", "occupancy"])
def test_every_objective_and_solver_gives_a_plan_that_checks(objective, tmp_path):
    path = str(tmp_path / "plan.json")
    for solver in ("auto", "reference", "prism-greedy"):
        args = ["--objective", objective, "--solver", solver, "--format", "json", "--output", path]
        assert main(["plan", EXAMPLE, *args]) == 0
        assert main(["check", EXAMPLE, path]) == 0


def test_the_same_call_gives_the_same_plan(tmp_path):
    plans = []
    for name in ("a", "b"):
        path = tmp_path / name
        assert main(["plan", EXAMPLE, "--seed", "5", "--format", "json", "-o", str(path)]) == 0
        plan = json.loads(path.read_text("utf-8"))
        plan.pop("seconds")
        plan.pop("progress")
        plans.append(plan)
    assert plans[0] == plans[1]


def test_what_fits_nowhere_is_exit_3_with_every_reason(capsys):
    assert main(["plan", SPREADSHEET, "--gpus", "4x20GiB"]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == (
        "kvplace: cannot be placed: 'chat-large' needs 27.9 GiB with overhead; "
        "the largest GPU has 20.0 GiB usable; "
        "with tensor_parallel: 2 a copy fits, 14.9 GiB on each GPU"
    )
    assert len(lines) == 5
    assert lines[-2].startswith("kvplace: infeasible")
    assert "kvplace explain" in lines[-1]


def test_a_proof_that_nothing_fits_is_a_file_that_checks(tmp_path, capsys):
    path = str(tmp_path / "none.json")
    where = ["--gpus", "4x20GiB"]
    assert main(["plan", SPREADSHEET, *where, "--format", "json", "--output", path]) == 3
    capsys.readouterr()
    assert main(["check", SPREADSHEET, path, *where]) == 0
    assert "the status 'infeasible' follows" in capsys.readouterr().out


def test_a_missing_file_is_one_line(capsys):
    assert main(["plan", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err.startswith("kvplace: nowhere.yaml: ")


def test_refine_is_never_worse_and_its_plan_checks(tmp_path, capsys):
    start, better = tmp_path / "start.json", tmp_path / "better.json"
    base = ["plan", EXAMPLE, "--solver", "prism-greedy", "--format", "json", "--quiet"]
    assert main([*base, "--output", str(start)]) == 0
    for iterations in ("0", "1", "none"):
        args = ["--start", str(start), "--iterations", iterations, "--format", "json"]
        assert main(["refine", EXAMPLE, *args, "--output", str(better), "--quiet"]) == 0
        assert main(["check", EXAMPLE, str(better)]) == 0
        values = [json.loads(p.read_text("utf-8"))["objective"]["value"] for p in (start, better)]
        assert values[1] <= values[0]
    capsys.readouterr()
    assert main(["refine", EXAMPLE, "--start", str(start), "--memory-margin", "5%"]) == 0
    assert "16 models" in capsys.readouterr().out


def test_a_start_for_another_fleet_is_refused_by_its_file(plan_file, capsys):
    assert main(["refine", SPREADSHEET, "--gpus", "2x80GiB", "--start", str(plan_file)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 16 + 6  # each model that is unknown, each that is missing
    assert all(line.startswith(f"kvplace: {plan_file}: '") for line in lines)


def damaged(plan_file, tmp_path, change):
    """Write the plan with one change and return its path."""
    plan = json.loads(plan_file.read_text("utf-8"))
    change(plan)
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(plan), encoding="utf-8")
    return str(path)


def lower_value(plan):
    plan["objective"]["value"] *= 0.9


def move_model(plan):
    first = plan["placements"][0]
    second = next(p for p in plan["placements"] if p["gpus"] != first["gpus"])
    first["gpus"], second["gpus"] = second["gpus"], first["gpus"]


def lose_model(plan):
    plan["placements"].pop()


def lower_price(plan):
    prices = plan["certificate"]["prices"]
    plan["certificate"]["prices"] = dict.fromkeys(prices, 0)


@pytest.mark.parametrize("change", [lower_value, move_model, lose_model, lower_price])
def test_check_exits_1_and_names_what_disagrees(change, plan_file, tmp_path, capsys):
    assert main(["check", EXAMPLE, damaged(plan_file, tmp_path, change)]) == 1
    captured = capsys.readouterr()
    assert captured.out.strip()
    assert "Traceback" not in captured.err


def test_check_as_json(plan_file, tmp_path, capsys):
    assert main(["check", EXAMPLE, str(plan_file), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["disagreements"] == []
    bad = damaged(plan_file, tmp_path, lower_value)
    assert main(["check", EXAMPLE, bad, "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["disagreements"]


def test_progress_and_notes_never_reach_stdout():
    done = subprocess.run(
        [sys.executable, "-m", "kvplace", "plan", EXAMPLE, "--format", "json"],
        capture_output=True, text=True, check=True, timeout=60, encoding="utf-8",
    )  # fmt: skip
    json.loads(done.stdout)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_output_encoding_will_do(encoding):
    done = subprocess.run(
        [sys.executable, "-m", "kvplace", "plan", EXAMPLE],
        capture_output=True, check=True, timeout=60,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert "16 models on 8 GPUs" in done.stdout.decode(encoding)


def test_a_signal_returns_the_best_so_far(tmp_path):
    script = (
        "import sys, time, kvplace.solver.solve as s\n"
        "real = s.solve\n"
        "def slow(problem, *, watch, **options):\n"
        "    print('ready', file=sys.stderr, flush=True)\n"
        "    while watch.stop is None: time.sleep(0.01)\n"
        "    return real(problem, **options)\n"
        "s.solve = slow\n"
        "from kvplace.cli.main import main\n"
        f"sys.exit(main(['plan', {EXAMPLE!r}, '--format', 'csv']))\n"
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr.readline() == "ready\n"
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert len(out.splitlines()) == 18


def test_a_signal_ends_a_search_that_is_under_way(tmp_path):
    fleet = tmp_path / "models.csv"
    rows = [f"m{j},{10 + j * j % 21},{1 + 7 * j % 9},{5 + j % 6}" for j in range(150)]
    header = "name,weights_gib,requests_per_second,slo_seconds"
    fleet.write_text("\n".join([header, *rows]))
    script = (
        "import sys\n"
        "from kvplace.solver.clock import Watch\n"
        "tell = Watch.tell\n"
        "def loud(self, phase, *numbers, **named):\n"
        "    tell(self, phase, *numbers, **named)\n"
        "    if phase == 'search': print('searching', file=sys.stderr, flush=True)\n"
        "Watch.tell = loud\n"
        "from kvplace.cli.main import main\n"
        f"args = ['plan', {str(fleet)!r}, '--gpus', '50x80GiB', '--format', 'json']\n"
        "sys.exit(main([*args, '--time-limit', '60']))\n"
    )
    output = tmp_path / "plan.json"  # a pipe would be full where no search begins in time
    with output.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=out, stderr=subprocess.PIPE, text=True
        )
        while process.stderr.readline() not in {"searching\n", ""}:
            pass
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    plan = json.loads(output.read_text())
    assert plan["stop"] == "interrupted"
    assert len(plan["placements"]) == 150


def test_a_small_plan_of_undivided_models_needs_no_heavy_library():
    code = (
        "import sys; from kvplace.cli.main import main;"
        f"main(['plan', {EXAMPLE!r}, '--objective', 'requests', '--solver', 'reference', '-q']);"
        "print({'numba', 'highspy', 'matplotlib', 'duckdb'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "set()"


def test_reading_a_file_counts_against_the_time_limit(monkeypatch, capsys):
    now, read = [0.0], reading.read  # a clock that only reading moves

    def slow(*arguments, **options):
        now[0] += 1000.0
        return read(*arguments, **options)

    stopped = SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr(clock, "time", stopped)
    monkeypatch.setattr(began, "time", stopped)
    monkeypatch.setattr(reading, "read", slow)
    stops = []
    for limit in ("2000", "10"):
        main(["plan", SPREADSHEET, "--gpus", "2x80GiB", "--format", "json", "--time-limit", limit])
        found = json.loads(capsys.readouterr().out)
        assert found["seconds"] == 0  # what is told is the time of the search
        stops.append(found["stop"])
    assert stops[0] != "time_limit"
    assert stops[1] == "time_limit"


def test_a_good_file_is_never_replaced_by_nothing(tmp_path, capsys):
    plan, fleet = tmp_path / "plan.json", tmp_path / "models.csv"
    fleet.write_text("name,weights_gib,requests_per_second,slo_seconds\na,10,1,1\n")
    command = ["plan", str(fleet), "--gpus", "1x80GiB", "--format", "json", "-o", str(plan)]
    assert main(command) == 0
    before = plan.read_text()
    fleet.write_text("name,weights_gib,requests_per_second,slo_seconds\na,100,1,1\n")
    assert main(command) == 3
    assert plan.read_text() == before
    assert "stays as it was" in capsys.readouterr().err
    plan.unlink()
    assert main(command) == 3
    assert '"infeasible"' in plan.read_text()  # the evidence, where nothing is lost by it


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("plan FLEET -o FLEET", "--output"),
        ("refine FLEET --start PLAN -o FLEET", "--output"),
        ("diff PLAN PLAN -o PLAN", "--output"),
        ("replan FLEET --current PLAN --plan PLAN", "--plan"),
        ("report PLAN --markdown PLAN", "--markdown"),
        ("demand trace LOG -o LOG", "--output"),
        ("export PROPOSAL --to shell -o HERE", "--output"),
        ("verify PROPOSAL --observed PLAN --fleet FLEET --record PLAN", "--record"),
        ("observe compose=PLAN -o PLAN", "--output"),
    ],
)
def test_a_file_that_is_read_is_never_written_over(words, option, tmp_path, capsys):
    fleet, plan, log = (tmp_path / name for name in ("fleet.yaml", "kept.json", "log.csv"))
    fleet.write_text(
        "schema: kvplace.fleet/v1\nnodes: 2x80GiB\nmodels: [{name: a, weights: 10GiB, "
        "demand: {requests_per_second: 1}, slo: {latency: 1s}}]\n"
    )
    log.write_text("time,model,prompt_tokens,output_tokens\n0,a,1,1\n9,a,1,1\n")
    assert main(["plan", str(fleet), "-q", "-o", str(plan)]) == 0
    proposal = tmp_path / "plan.json"  # one of the files that its own runbook needs
    assert main(["replan", str(fleet), "--current", str(plan), "-q", "-o", str(proposal)]) == 0
    of = {"FLEET": fleet, "PLAN": plan, "LOG": log, "PROPOSAL": proposal, "HERE": tmp_path}
    before = [path.read_bytes() for path in (fleet, plan, log, proposal)]
    capsys.readouterr()
    given = (word.partition("=") for word in words.split())
    asked = [
        f"{runtime}={of[place]}" if place else str(of.get(runtime, runtime))
        for runtime, _, place in given
    ]
    assert main(asked) == 2
    assert f"{option} {tmp_path}" in (told := capsys.readouterr().err)
    assert "which is read; name another file" in told
    assert [path.read_bytes() for path in (fleet, plan, log, proposal)] == before


@pytest.mark.parametrize(
    "words",
    [
        "report PLAN -o NEW --markdown NEW",
        "replan FLEET --current PLAN --plan NEW -o ./NEW",
        "watch FLEET --once --current PLAN --history NEW -o NEW",
    ],
)
def test_two_options_never_write_one_file(words, plan_file, tmp_path, monkeypatch, capsys):
    # The later one took the place of what the first had written, and nothing said so.
    monkeypatch.chdir(tmp_path)
    of = {"PLAN": str(plan_file), "FLEET": str(plan_file)}
    assert main([of.get(word, word) for word in words.split()]) == 2
    assert "both name" in capsys.readouterr().err
    assert not Path("NEW").exists()


def test_a_dash_as_output_is_stdout_and_no_name_is_no_file(
    plan_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["diff", str(plan_file), str(plan_file), "-o", "-"]) == 0
    assert capsys.readouterr().out
    assert main(["export", str(plan_file), "--to", "shell", "-o", ""]) == 2
    assert "the name is empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_refined_plan_may_take_the_place_of_the_plan(plan_file, tmp_path):
    (tmp_path / "plan.json").write_bytes(plan_file.read_bytes())
    assert (
        main(["refine", str(tmp_path / "plan.json"), "-q", "-o", str(tmp_path / "plan.json")]) == 0
    )
    assert kvplace.read_plan(tmp_path / "plan.json").placement
