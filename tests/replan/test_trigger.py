"""When to re-plan: every condition by itself, and what is remembered."""

import math

import pytest

from kvplace.errors import InputError
from kvplace.replan.history.trigger import History, Policy, Seen, decide

TIB = 2**40


def seen(before=1.0, after=0.8, seconds=1000.0, tib=0.5, moves=2, needed=False):
    return Seen(seconds, before, after, int(tib * TIB), moves, needed)


@pytest.mark.parametrize(
    ("policy", "what", "history", "act"),
    [
        (Policy(), seen(), History(), True),
        (Policy(gain=0.2), seen(), History(), True),
        (Policy(gain=0.21), seen(), History(), False),
        (Policy(), seen(moves=0), History(), False),
        (Policy(cooldown_seconds=600), seen(), History(last_seconds=500.0), False),
        (Policy(cooldown_seconds=500), seen(), History(last_seconds=500.0), True),
        (Policy(above=1.1), seen(), History(), False),
        (Policy(above=1.1, below=0.9), seen(), History(alarmed=True), True),
        (Policy(above=1.1, below=1.0), seen(), History(alarmed=True), False),
        (Policy(gain_per_tib=0.4), seen(), History(), True),
        (Policy(gain_per_tib=0.41), seen(), History(), False),
        (Policy(gain_per_tib=9.0), seen(tib=0), History(), True),
        (Policy(gain=1, above=9), seen(before=math.inf, needed=True), History(), True),
    ],
)
def test_each_condition(policy, what, history, act):
    decision = decide(policy, what, history)
    assert decision.act is act
    assert decision.reasons
    assert decision.history.last_seconds == (what.seconds if act else history.last_seconds)


def test_a_pressure_that_wavers_about_the_limit_does_not_alarm_and_calm_in_turn():
    policy, history, acts = Policy(above=1.0, below=0.8, cooldown_seconds=50), History(), []
    for step, value in enumerate([0.9, 1.0, 0.9, 1.01, 0.85, 0.79, 0.9]):
        decision = decide(policy, seen(before=value, after=0.5, seconds=10.0 * step), history)
        history = decision.history
        acts.append(decision.act)
    # Alarmed at 1.0; the pause holds the next back until 60 s, when 0.79 has calmed it down.
    assert acts == [False, True, False, False, False, False, False]
    assert not history.alarmed


def test_a_condition_that_is_no_number_or_below_0_is_refused():
    with pytest.raises(InputError, match=r"gain: must be at least 0, not nan\n.*below: .*not -1"):
        Policy(gain=math.nan, below=-1)
