"""The page: its figures are the plan's, nothing leaves it, everyone can read it."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.certificate import Bound
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.result import Result, Step, Stop
from kvplace.errors import InputError
from kvplace.forecast.forecast import forecast
from kvplace.report.page.charts import convergence_chart, profile_chart
from kvplace.report.page.data import kvpr_text, page_values, pressure_class
from kvplace.report.page.markdown import markdown_summary
from kvplace.report.page.page import page
from kvplace.report.plots.figure import draw_plan
from kvplace.report.summary import forecast_sentence
from kvplace.solver.solve import solve
from kvplace.units import format_latency

GIB = 2**30
STEPS = (Step(0.1, float("inf"), 0.1), Step(0.5, 0.9, 0.1), Step(2.0, 0.5, 0.2), Step(4, 0.4, 0.3))
EVIL = '</script><img src=x onerror="alert(1)">&{{7*7}}|`'
BROWSER = Path(__file__).with_name("browser.cjs")


def problem(nodes=1, gpus=4, per=2, names=lambda index: f"org/model-{index}", objective=None):
    """Models of 4 to 13 GiB, per GPU so many, with rising demand."""
    fleet = Fleet(
        tuple(
            Node(f"node-{n}", tuple(GPU(f"node-{n}/{i}", "H100", 80 * GIB) for i in range(gpus)))
            for n in range(nodes)
        )
    )
    models = tuple(
        Model(names(i), (4 + i % 10) * GIB, Demand(0.2 + (i % 7) / 3, 1000, 200), SLO(1.0, 0.05),
              131072)
        for i in range(nodes * gpus * per)
    )  # fmt: skip
    return Problem(models, fleet, objective)


def subject(given, shift=0, proved=False):
    """Model i goes to GPU i + shift, around and around."""
    ids = [gpu.id for gpu in given.fleet.gpus]
    placement = Placement(
        tuple(
            Replica(m.name, 0, (ids[(i + shift) % len(ids)],)) for i, m in enumerate(given.models)
        )
    )
    return result(given, placement, proved=proved)


def result(given, placement, proved=False):
    """What a plan's rows tell, or (proved) what a solver found: within 20 % of its bound."""
    found = evaluate(given, placement)
    if not proved:
        return Result(given, placement, found, Bound(0.0, "trivial"), Stop.GIVEN, "", 0, 0, 0.0)
    proof = Bound(found.value / 1.2, "fluid", RuleCertificate(found.value / 1.2, "fluid", ""))
    return Result(given, placement, found, proof, Stop.TIME_LIMIT, "auto", 0, 0, 4.0, STEPS)


def test_shards_of_a_model_over_several_gpus_are_told_apart():
    fleet = Fleet((Node("n", tuple(GPU(f"n/{i}", "H100", 80 * GIB) for i in range(3))),))
    models = (
        Model("org/wide", 100 * GIB, Demand(1.0, 1000, 200), SLO(1.0, 0.05), 131072,
              tensor_parallel=(2,)),
        Model("org/narrow", 10 * GIB, Demand(1.0, 1000, 200), SLO(1.0, 0.05), 131072),
    )  # fmt: skip
    placement = Placement(
        (Replica("org/wide", 0, ("n/2", "n/0")), Replica("org/narrow", 0, ("n/2",)))
    )
    given = Problem(models, fleet)
    one = result(given, placement)
    parts = {
        row["id"]: [(m["name"], m["part"]) for m in row["models"]]
        for row in page_values(one)["nodes"][0]["rows"]
    }
    assert parts == {"n/2": [("narrow", ""), ("wide", "1/2")], "n/0": [("wide", "2/2")]}
    text = page(one)
    assert "1 idle GPU" in text
    assert "n/2+0" in text
    assert '"n/2 n/0"]' in text  # the search finds it by each of its GPUs
    assert "marked 1/2" in page(one)
    assert "marked 1/2" not in page(subject(problem()))


def whole(nodes, gpus, name=EVIL):
    """Return a page with everything on it."""
    given = problem(nodes, gpus, names=lambda i: f"{name}{i}")
    before, after = subject(given, shift=1), subject(given, proved=True)
    return after, page(after, before, name="plan.json", baseline_name="old.json")


class _Tags(HTMLParser):
    """Collects what could reach the network, and every id."""

    def __init__(self):
        super().__init__()
        self.reaching, self.ids, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in {"src", "href", "action", "data", "poster", "srcset"}:
                self.reaching.append(value)
            assert not name.startswith("on"), (tag, name)


def test_the_page_is_one_file_and_names_are_only_text():
    _, text = whole(2, 4)
    tags = _Tags()
    tags.feed(text)
    assert all(one.startswith(("data:", "#")) for one in tags.reaching)
    assert len(set(tags.ids)) == len(tags.ids)
    assert "img" not in tags.tags
    assert tags.tags.count("script") == 2
    assert set(re.findall(r"&amp;(.*?)\|", text)) == {"{{7*7}}"}  # nothing was computed
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "default-src 'none'" in text


def test_the_figures_are_the_plan_s():
    given = problem()
    one = subject(given, proved=True)
    values = page_values(one)
    gpus = one.evaluation.gpus
    assert values["value"] == max(gpu.kvpr for gpu in gpus)
    assert values["free"] * GIB == pytest.approx(sum(gpu.free_bytes for gpu in gpus))
    rows = {row["id"]: row for node in values["nodes"] for row in node["rows"]}
    for gpu in gpus:
        row = rows[gpu.id]
        assert row["free_gib"] == gpu.free_bytes / GIB
        assert sum(row["weights"]) == pytest.approx(100 * gpu.weights_bytes / (80 * GIB))
        assert sum(row["weights"]) + row["used"] + row["rest"] == pytest.approx(100)
        assert row["used"] / (row["used"] + row["rest"]) == pytest.approx(min(1, gpu.kvpr))
    order = [row["kvpr"] for row in values["nodes"][0]["rows"]]
    assert len(order) == 4
    text = page(one)
    assert f'data-value="{one.evaluation.value}"' in text
    assert "Within 20.0\u00a0% of the optimum" in text  # never broken between the two


@pytest.mark.parametrize("objective", ["requests", "tokens"])
def test_other_loads_have_numbers_and_no_share_of_a_pool(objective):
    one = subject(problem(objective=objective))
    text = page(one)
    assert "of the KV pool" not in text
    assert "The plan file states no bound." in text
    worst = max(gpu.kvpr for gpu in one.evaluation.gpus)
    assert pressure_class(worst, worst, occupancy=False) == 1
    assert kvpr_text(worst, occupancy=False) in text


def test_a_large_fleet_is_folded_and_a_larger_one_aggregated():
    folded = page(subject(problem(125, 8, 2)))
    assert folded.count('<details class="node"') == 125
    assert "101 more nodes" in folded
    assert len(folded) < 1_500_000
    aggregated = page(subject(problem(126, 8, 2)))
    assert '<details class="node"' not in aggregated
    assert "The 100 worst GPUs" in aggregated
    assert len(aggregated) < 900_000


def test_nodes_on_which_nothing_runs_are_one_line_on_paper_too():
    given = problem(12, 8, 2)
    ids = [gpu.id for gpu in given.fleet.gpus]
    held = Placement(tuple(Replica(m.name, 0, (ids[i % 20],)) for i, m in enumerate(given.models)))
    whole = Result(given, held, evaluate(given, held), Bound(0, "trivial"), Stop.GIVEN, "", 0, 0, 0)
    text = page(whole)
    assert text.count('<details class="node"') == 3
    assert "12 nodes." in text
    assert "9 idle nodes of 8 x H100: node-3 to node-11</p>" in text
    assert "4 idle GPUs</p>" in text  # of node-2


@pytest.mark.parametrize(
    ("kvpr", "occupancy", "exact", "text"),
    [
        (0.7121, True, False, "71 %"),
        (0.7121, True, True, "71.21 %"),
        (0.07112, True, True, "7.112 %"),
        (0.0711, True, False, "7.1 %"),
        (0.0, True, False, "0 %"),
        (1.25, True, True, "125.0 %"),
        (float("inf"), True, True, "∞"),
        (0.0413, False, True, "0.04130"),
    ],
)
def test_how_a_pressure_is_printed(kvpr, occupancy, exact, text):
    assert kvpr_text(kvpr, occupancy=occupancy, exact=exact) == text


def test_classes_of_pressure():
    found = [pressure_class(k, 2.0, occupancy=True) for k in (0, 0.79, 0.8, 0.99, 1.0, 9.0)]
    assert found == [0, 0, 1, 1, 2, 2]


def test_the_page_opens_with_what_to_do():
    assert "The demand fits" in page(subject(problem()))
    hot = [Model("org/hot", 60 * GIB, Demand(40.0, 1000, 200), SLO(1.0, 0.05), 131072)]
    fleet = Fleet((Node("n", (GPU("n/0", "H100", 80 * GIB), GPU("n/1", "H100", 80 * GIB))),))
    text = page(solve(Problem(tuple(hot), fleet)))
    assert "Overloaded: n/" in text
    assert "more replicas of hot" in text
    assert 'class="proof fair"' in text  # optimal, and still no reason to be content


def test_the_page_says_what_the_plan_is_forecast_to_serve():
    subject_ = subject(problem(gpus=2))
    found = forecast(subject_.problem, subject_.placement)
    text = page(subject_)
    assert "What it is forecast to serve" in text
    said = forecast_sentence(found).removeprefix("forecast: ")
    assert said in text.replace("\u00a0%", " %")
    for one in found.models:
        assert "<td class=" + '"num">' + f"{format_latency(one.tpot_seconds)}</td>" in text
    models = [
        replace(m, slo=SLO(latency_seconds=5.0), demand=Demand(m.demand.requests_per_second))
        for m in subject_.problem.models
    ]
    unmeasured = subject(Problem(tuple(models), subject_.problem.fleet))
    assert "What it is forecast to serve" not in page(unmeasured)


def test_the_profile_is_drawn_to_scale():
    # 1.0 is as high as the axis; 0.5 half as high.
    chart = profile_chart([1.0, 0.5], 0.75, None, occupancy=True)
    first, second = chart["bars"]
    assert first["height"] == pytest.approx(2 * second["height"], abs=0.02)
    assert chart["bound"] == pytest.approx((first["y"] + second["y"]) / 2, abs=0.02)
    many = profile_chart([1.0 - i / 3000 for i in range(3000)], None, None, occupancy=True)
    assert not many["bars"]
    assert sum(area["path"].count("L") for area in many["areas"]) < 2500


def test_a_profile_below_all_normal_numbers_is_drawn():
    chart = profile_chart([1.5e-323, 0.0], None, None, occupancy=True)
    assert chart["ticks"]


def test_the_search_is_drawn_only_where_there_is_one():
    assert convergence_chart((), occupancy=True) is None
    assert convergence_chart(STEPS[1:2], occupancy=True) is None
    proved_at_once = (Step(0.1, float("inf"), 0.5), Step(0.2, 0.5, 0.5))
    assert convergence_chart(proved_at_once, occupancy=True) is None
    chart = convergence_chart(STEPS, occupancy=True)
    assert chart["value"].count("H") == 3  # three finite values, then on to the edge
    assert chart["bound"].count("V") == 3


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
@pytest.mark.parametrize("nodes", [1, 12])
def test_the_figure(tmp_path, suffix, nodes):
    given = problem(nodes, 4, names=lambda i: f"$x_{i}$ 日本{EVIL if i else ''}")
    path = tmp_path / f"plan.{suffix}"
    draw_plan(subject(given, proved=True), subject(given, shift=1).evaluation, str(path))
    assert path.stat().st_size > 3000


def test_the_same_plan_gives_the_same_figure(tmp_path):
    texts = []
    for name in ("a.svg", "b.svg"):
        draw_plan(subject(problem(), proved=True), None, str(tmp_path / name))
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]


def test_a_figure_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match="ends in"):
        draw_plan(subject(problem()), None, str(tmp_path / "plan.gif"))


def test_markdown_holds_the_headline_and_hostile_names_stay_in_their_cells():
    given = problem(names=lambda i: f"{EVIL}{i}")
    before, after = subject(given, shift=1), subject(given, proved=True)
    text = markdown_summary(after, before, name="plan.json", baseline_name="old.json")
    worst = kvpr_text(after.evaluation.value, occupancy=True, exact=True)
    assert f"worst GPU {worst}" in text
    assert "8 to move, 0 to start, 0 to stop" in text
    assert "<script" not in text
    assert "<img" not in text
    for line in text.splitlines():
        if line.startswith("| move"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5


NODE_MODULES = os.environ.get("NODE_PATH", "")
WITHOUT_BROWSER = not (
    shutil.which("chromium")
    and shutil.which("node")
    and (Path(NODE_MODULES) / "playwright-core").is_dir()
    and (Path(NODE_MODULES) / "axe-core").is_dir()
)


@pytest.mark.skipif(
    WITHOUT_BROWSER,
    reason="apt-get install chromium nodejs; npm install playwright-core axe-core; set NODE_PATH",
)
@pytest.mark.parametrize("nodes", [1, 5, 125])
def test_in_a_browser(tmp_path, nodes):
    after, text = whole(nodes, 8, name="org/model-<b>&")
    path = tmp_path / "report.html"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["node", str(BROWSER), str(path)], capture_output=True, text=True, check=False, timeout=180,
        env={**os.environ, "CHROMIUM": shutil.which("chromium")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["errors"] == []
    assert set(found["requests"]) == {path.as_uri()}
    for scheme in ("light", "dark"):
        assert found["schemes"][scheme]["violations"] == []
    assert found["schemes"]["light"]["background"] != found["schemes"]["dark"]["background"]
    # The figures on the page are the plan's.
    assert float(found["value"]) == after.evaluation.value
    gpus = {gpu.id: gpu for gpu in after.evaluation.gpus}
    assert len(found["rows"]) == len(gpus)
    for name, kvpr, _, free, _ in found["rows"]:
        assert kvpr == kvpr_text(gpus[name].kvpr, occupancy=True)
        assert free == f"{gpus[name].free_bytes / GIB:.1f}"
    assert found["nodes"] == nodes
    # The keyboard reaches everything, the search finds, the page prints.
    assert found["focus"] == found["wanted"]
    assert found["search"]["first"] == found["search"]["query"]
    assert found["search"]["words"] == "1 found" or "found" in found["search"]["words"]
    assert found["pdf"] > 10_000
    assert found["phone"] == {"page": 390, "over": 0, "violations": []}
    if nodes == 125:
        assert found["schemes"]["light"]["loaded"] < 5000
