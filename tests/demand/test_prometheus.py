"""Demand read from a real Prometheus equals the trace that was replayed to it."""

import math
import shutil
import time
from itertools import pairwise

import numpy as np
import pytest
from exporter import Counters, Prometheus, Replay

from kvplace.cli.main import main
from kvplace.demand.prometheus import scrape
from kvplace.demand.prometheus.client import Access
from kvplace.demand.prometheus.prometheus import read_prometheus
from kvplace.demand.summary import summarise
from kvplace.errors import InputError
from kvplace.formats.read import read

pytest.importorskip("httpx_retries", reason="reading Prometheus needs the extra 'prometheus'")
pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="the prometheus program is not installed"
)

INTERVAL, HOURS = 60, 3
SCRAPES = HOURS * 3600 // INTERVAL
LEAD = 1  # scrapes before the window that is read
BUCKETS = (0.1, 0.2, 0.4, 0.8, 1.6, math.inf)
RESTART, GAP, RENAME = (
    52,
    range(83, 96),
    128,
)  # scrapes; none at a window's end; the gap is 13 minutes


def trace(seed: int, base: float) -> np.ndarray:
    """Return the requests in each interval: a slow wave with a burst of a quarter of an hour."""
    wave = base * (1 + 0.5 * np.sin(np.arange(SCRAPES + LEAD) / 22))
    wave[150:165] *= 3
    return np.random.default_rng(seed).poisson(wave)


def histogram(name: str, labels: str, counts: list[float]) -> list[str]:
    """Return the buckets of a histogram."""
    total = np.cumsum(counts)
    bounds = ["+Inf" if math.isinf(bound) else str(bound) for bound in BUCKETS]
    return [
        f'{name}_bucket{{{labels},le="{bound}"}} {value}'
        for bound, value in zip(bounds, total, strict=True)
    ]


class Engine:
    """What an engine exports at every scrape, worked out beforehand."""

    def __init__(self, kind: str, requests: np.ndarray, start: float) -> None:
        self.kind, self.start = kind, start
        self.states, now = [], Counters()
        for number, count in enumerate(requests):
            if kind == "vllm" and number in (RESTART, RENAME):
                now = Counters()
            now = Counters(
                now.requests + count,
                now.prompt + 900 * count,
                now.output + 150 * count,
                now.cached + 300 * count,
            )
            self.states.append(now)

    def page(self, number: int) -> str | None:
        """Return the exposition of one scrape; None is an answer of 500."""
        if self.kind == "vllm" and number in GAP:
            return None
        state = self.states[number]
        lines = self.vllm(number, state) if self.kind == "vllm" else self.sglang(state)
        stamp = round(1000 * (self.start + INTERVAL * (number - LEAD)))
        return "".join(f"{line} {stamp}\n" for line in lines)

    def vllm(self, number: int, state: Counters) -> list[str]:
        mark = "_" if number >= RENAME else ":"
        labels = 'model_name="org/chat",engine="0",namespace="prod"'
        stop, length = state.requests - state.requests // 4, state.requests // 4
        tpot = "inter_token_latency_seconds" if mark == "_" else "time_per_output_token_seconds"
        shares = [state.requests * share for share in (0.5, 0.3, 0.1, 0.1, 0, 0)]
        return [
            f'vllm{mark}request_success_total{{{labels},finished_reason="stop"}} {stop}',
            f'vllm{mark}request_success_total{{{labels},finished_reason="length"}} {length}',
            f"vllm{mark}prompt_tokens_total{{{labels}}} {state.prompt}",
            f"vllm{mark}generation_tokens_total{{{labels}}} {state.output}",
            f"vllm{mark}prefix_cache_hits_total{{{labels}}} {state.cached}",
            # The deprecated name for the same tokens, exported beside the new one.
            f"vllm{mark}gpu_prefix_cache_hits_total{{{labels}}} {state.cached}",
            *histogram(f"vllm{mark}time_to_first_token_seconds", labels, shares),
            *histogram(f"vllm{mark}{tpot}", labels, shares),
        ]

    def sglang(self, state: Counters) -> list[str]:
        lines = []
        for rank in (0, 1):  # both ranks of one engine report the same requests
            labels = f'model_name="org/code",engine_type="unified",tp_rank="{rank}"'
            lines += [
                f"sglang:num_requests_total{{{labels}}} {state.requests}",
                f"sglang:prompt_tokens_total{{{labels}}} {state.prompt}",
                f"sglang:generation_tokens_total{{{labels}}} {state.output}",
                f'sglang:cached_tokens_total{{{labels},cache_source="device"}} {state.cached}',
            ]
        return lines


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A Prometheus that has scraped both engines to the end, and what they were asked."""
    end = math.floor(time.time() / 300) * 300
    start = end - HOURS * 3600
    requests = {"org/chat": trace(1, 80), "org/code": trace(2, 20)}
    engines = [
        Engine("vllm", requests["org/chat"], start),
        Engine("sglang", requests["org/code"], start),
    ]
    replays = [Replay(engine.page, SCRAPES + LEAD) for engine in engines]
    targets = {f"engine-{i}": replay.port for i, replay in enumerate(replays)}
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), targets)
    try:
        prometheus.wait(prometheus.ready)
        prometheus.wait(lambda: all(replay.done() for replay in replays))
        yield prometheus.url, end, {name: counts[LEAD:] for name, counts in requests.items()}
    finally:
        prometheus.close()
        for replay in replays:
            replay.server.shutdown()
            replay.server.server_close()


@pytest.fixture(scope="module")
def series(served):
    url, end, _ = served
    return read_prometheus(url, end=end, window_seconds=HOURS * 3600, step_seconds=300)


def test_demand_equals_the_trace_within_one_percent(series, served):
    # The first interval ends at the window's begin, so it lies before it.
    _, _, requests = served
    summary = summarise(series, 0.95)
    assert {model.model for model in summary.models} == set(requests)
    for model in summary.models:
        asked = requests[model.model][1:].sum()
        assert model.mean_rate == pytest.approx(asked / (HOURS * 3600), rel=0.01), model.model
        # 300 of 900 prompt tokens come from the prefix cache.
        assert model.prompt_tokens.value == pytest.approx(900, rel=0.01)
        assert model.cached_tokens.value == pytest.approx(300, rel=0.01)
        assert model.output_tokens.value == pytest.approx(150, rel=0.01)


def test_long_windows_are_read_in_stretches_that_say_the_same(series, served, monkeypatch):
    url, end, _ = served
    monkeypatch.setattr(scrape, "_POINTS", 7)
    again = read_prometheus(url, end=end, window_seconds=HOURS * 3600, step_seconds=300)
    assert again.models == series.models
    assert again.requests.tolist() == series.requests.tolist()
    assert again.prompt_tokens.tolist() == series.prompt_tokens.tolist()


def test_quantiles_and_peaks_equal_the_trace_within_one_percent(series, served):
    _, _, requests = served
    counts = requests["org/code"][1:]
    counts = np.append(counts, [0] * (-len(counts) % 5))
    windows = counts.reshape(-1, 5).sum(axis=1) / 300
    for quantile in (0.5, 0.95, 1.0):
        expected = np.quantile(windows, quantile, method="inverted_cdf")
        (found,) = (m for m in summarise(series, quantile).models if m.model == "org/code")
        assert found.requests_per_second.value == pytest.approx(expected, rel=0.01)


def test_what_happened_is_told(series):
    notes = "\n".join(series.notes)
    assert "restart" in notes
    assert "without a sample" in notes
    assert "33.3 % of prompt tokens came from the prefix cache" in notes


def test_latencies_are_the_quantile_of_the_buckets(series):
    # 90 % is the end of the third bucket, for both names of the time per output token.
    chat = series.latencies["org/chat"]
    assert chat.ttft_seconds.value == pytest.approx(0.4, rel=0.02)
    assert chat.tpot_seconds.value == pytest.approx(0.4, rel=0.02)
    assert "time_to_first_token_seconds" in chat.ttft_seconds.origin
    assert "org/code" not in series.latencies


def test_models_and_labels_narrow_the_question(served):
    url, end, _ = served
    span = {"end": end, "window_seconds": 3600, "step_seconds": 300}
    assert read_prometheus(url, models=["org/code"], **span).models == ("org/code",)
    assert read_prometheus(url, matchers=['namespace="prod"'], **span).models == ("org/chat",)
    with pytest.raises(InputError, match='namespace="test"') as caught:
        read_prometheus(url, matchers=['namespace="test"'], **span)
    assert len(caught.value.lines()) == 1


def test_a_time_before_any_sample_is_one_line(served):
    url, end, _ = served
    with pytest.raises(InputError, match="no request of a known engine or gateway") as caught:
        read_prometheus(url, end=end - 86400, window_seconds=3600, step_seconds=300)
    assert len(caught.value.lines()) == 1


def test_a_window_longer_than_the_data_is_told_and_not_diluted(served):
    url, end, requests = served
    series = read_prometheus(url, end=end, window_seconds=12 * 3600, step_seconds=300)
    assert any("samples cover" in note for note in series.notes)
    (code,) = (m for m in summarise(series).models if m.model == "org/code")
    mean = requests["org/code"][1:].sum() / (HOURS * 3600)
    assert code.mean_rate == pytest.approx(mean, rel=0.01)


def test_a_fleet_file_is_made_of_what_prometheus_says(served, tmp_path, capsys, monkeypatch):
    url, _, _ = served
    monkeypatch.setenv("KVPLACE_CATALOGUE", str(tmp_path))
    file = str(tmp_path / "fleet.yaml")
    which = ["--models", "Qwen/Qwen3-8B", "--alias", "org/chat=Qwen/Qwen3-8B"]
    where = ["--prometheus", url, "--window", "2h", "--nodes", "1x2xH100", "--output", file]
    code = main(["init", *which, *where])
    assert code == 0, capsys.readouterr().err
    (model,) = read(file).models
    # Both latencies were observed: 0.4 s is the end of the bucket that holds the 90 % quantile.
    assert model.slo.ttft_seconds == pytest.approx(0.4, rel=0.02)
    assert model.demand.prompt_tokens == pytest.approx(900, rel=0.01)
    assert model.demand.cached_tokens == pytest.approx(300, rel=0.01)
    assert "demand of org/code is left out" in capsys.readouterr().err
    assert main(["plan", file, "--quiet"]) == 0


def test_a_password_is_asked_for_and_used(tmp_path):
    # bcrypt of "secret"
    hashed = "$2b$04$ztZxtjd7T2Ydl4WsQZ9XCu2Fqu.B6Cypr.nt6sAGB57Gqkgutcmf2"
    prometheus = Prometheus(tmp_path, {}, f"basic_auth_users:\n  planner: {hashed}\n")
    try:
        prometheus.wait(prometheus.ready)
        span = {"end": time.time(), "window_seconds": 3600}
        for access in (Access(), Access(user="planner", password="wrong")):
            with pytest.raises(InputError, match=r"access is refused \(401\)"):
                read_prometheus(prometheus.url, access=access, **span)
        right = Access(user="planner", password="secret")
        with pytest.raises(InputError, match="no request of a known engine"):
            read_prometheus(prometheus.url, access=right, **span)
    finally:
        prometheus.close()


def test_the_trace_has_a_gap_a_restart_and_a_rename():
    assert all(a < b for a, b in pairwise([RESTART, GAP.start, GAP.stop, RENAME, SCRAPES]))
    assert INTERVAL * len(GAP) > 2 * 300
