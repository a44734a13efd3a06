"""Few windows that stand for many: joint peaks are found, and what they lose is measured."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.demand import windows as demand_windows
from kvplace.demand.series import DemandSeries
from kvplace.demand.summary import summarise
from kvplace.demand.windows import EPOCH_FROM, Calendar, choose_windows
from kvplace.errors import InputError


def series(requests, step=3600.0, first=0.0, tokens=None):
    """Return a series of whole windows."""
    requests = np.array(requests, dtype=float)
    count = requests.shape[1]
    names = tuple(f"m{i}" for i in range(len(requests)))
    starts = first + step * np.arange(count)
    return DemandSeries(
        names, starts, np.full(count, step), step, requests,
        None if tokens is None else np.array(tokens, float), None if tokens is None else
        np.array(tokens, float), "a log",
    )  # fmt: skip


def test_windows_in_which_someone_peaks_are_chosen():
    # m0 peaks in window 1, m1 and m2 together in window 3; the other windows reach no peak.
    found = choose_windows(series([[1, 9, 1, 1], [2, 1, 2, 8], [1, 1, 3, 8]]), 2)
    assert [window.name for window in found.windows] == ["0d01h00m", "0d03h00m"]
    assert found.windows[0].requests_per_second == pytest.approx(np.array([9, 1, 1]) / 3600)
    assert found.loss.most < 0.1
    assert found.of == 4


def test_one_window_is_the_joint_peak_and_its_loss_is_told():
    found = choose_windows(series([[0, 10], [8, 0]]), 1)
    assert [window.name for window in found.windows] == ["0d01h00m"]
    # Groups that only m1 is in lose all of their peak; of both together 10 is the peak.
    assert found.loss.most in {0.0, 1.0}


def test_more_windows_than_matter_are_not_chosen():
    assert len(choose_windows(series([[5, 5, 5, 5]]), 3).windows) == 1


def test_weights_say_how_much_time_a_window_stands_for():
    # Two models peak early and two late; either pair on one GPU asks for 18.
    early, late = [9, 9, 9, 1], [1, 1, 1, 9]
    found = choose_windows(series([early, early, late, late]), 2)
    assert sorted(window.weight for window in found.windows) == pytest.approx([0.25, 0.75])


def test_hours_of_the_day_are_means_over_days():
    # Two days of hourly counts: 10 then 20 requests in hour 3.
    counts = np.ones((1, 48))
    counts[0, 3], counts[0, 27] = 10, 20
    found = choose_windows(series(counts, first=20_000 * 86400.0), Calendar.HOUR)
    assert [window.name for window in found.windows] == [f"{hour:02d}h" for hour in range(24)]
    assert found.windows[3].requests_per_second[0] * 3600 == pytest.approx(15)
    assert found.loss.most == pytest.approx(1 - 15 / 20)


def test_weekdays_have_names_where_the_date_is_known():
    monday = 4 * 86400.0  # 1970-01-05
    while monday < EPOCH_FROM:
        monday += 7 * 86400.0
    found = choose_windows(series(np.ones((1, 14)), step=86400.0, first=monday), Calendar.WEEKDAY)
    assert {window.name for window in found.windows} == {
        "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun",
    }  # fmt: skip


def test_tokens_are_means_per_request_and_unknown_where_none_came():
    window = choose_windows(series([[2, 0], [1, 9]], tokens=[[20, 0], [50, 540]]), 1).windows[0]
    assert np.isnan(window.prompt_tokens[0])
    assert window.prompt_tokens[1] == pytest.approx(60)


@pytest.mark.parametrize(("wanted", "quantile"), [(0, 1.0), (2, 0.0), (2, 1.5)])
def test_what_makes_no_sense_is_refused(wanted, quantile):
    with pytest.raises(InputError):
        choose_windows(series([[1, 2]]), wanted, quantile)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 8), st.integers(1, 6), st.integers(0, 1000))
def test_all_windows_lose_nothing_and_more_never_lose_more(windows, models, seed):
    random = np.random.default_rng(seed)
    data = series(random.pareto(1.5, (models, windows)) + 0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demand_windows, "GROUPS", 400)  # ten times as fast
        losses = [choose_windows(data, count, seed=seed).loss.mean for count in (1, 2, windows)]
    assert losses[0] >= losses[1] - 1e-9 or models > 1
    assert losses[2] <= 0.02


def test_burstiness_is_told_and_a_day_is_none():
    rng = np.random.default_rng(7)
    hours = np.arange(2000)
    steady = rng.poisson(60, 2000)
    daily = rng.poisson(60 + 50 * np.sin(hours / 100))
    gaps = np.cumsum(rng.gamma(1 / 9, 9, 120_000))
    bursts = np.histogram(gaps, bins=2000, range=(0, 100_000))[0]
    found = {
        model.model: model.dispersion.value
        for model in summarise(series([steady, daily, bursts], step=10.0)).models
    }
    assert found["m0"] == pytest.approx(1.0, rel=0.15)
    assert found["m1"] == pytest.approx(1.0, rel=0.15)
    assert found["m2"] == pytest.approx(9.0, rel=0.25)
    short = summarise(series([steady[:15]], step=10.0)).models[0]
    assert short.dispersion is None
