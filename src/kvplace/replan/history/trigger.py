"""When to re-plan: a policy, and what it says to an observation, given what was done before."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from kvplace.errors import Fault, InputError
from kvplace.units import GIB, format_percent, format_seconds

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Policy:
    """What must hold for a re-plan to be carried out.

    Parameters
    ----------
    gain
        Least part of the highest pressure that it must take off.
    cooldown_seconds
        Time that must have passed since the last one.
    above
        Pressure from which on the fleet is alarmed; 0 for always.
    below
        Pressure at which an alarmed fleet calms down again; the same as `above` or less, so that a
        pressure that wavers about `above` does not alarm and calm it in turn.
    gain_per_tib
        Least part of the highest pressure that it must take off for each TiB that it loads.

    Raises
    ------
    InputError
        One of them is below 0 or no number.
    """

    gain: float = 0.05
    cooldown_seconds: float = 0.0
    above: float = 0.0
    below: float = 0.0
    gain_per_tib: float = 0.0

    def __post_init__(self) -> None:
        stated = ((field.name, getattr(self, field.name)) for field in fields(self))
        wrong = [(name, value) for name, value in stated if not value >= 0]  # nor a nan
        if wrong:
            raise InputError([Fault(f"must be at least 0, not {v}", name) for name, v in wrong])


@dataclass(frozen=True, slots=True)
class History:
    """What a policy remembers.

    Parameters
    ----------
    last_seconds
        When the last re-plan was carried out; minus infinity for never.
    alarmed
        Whether the pressure was above the policy's limit and has not calmed down since.
    """

    last_seconds: float = -math.inf
    alarmed: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """An observation, and what a re-plan would make of it.

    Parameters
    ----------
    seconds
        When it was made, on the clock of the history.
    before, after
        Highest pressure as it is, and as it would be.
    loaded_bytes
        Weights that would be read.
    moves
        Replicas that would move, start or stop.
    needed
        Whether something must be done for everything to be served at all.
    """

    seconds: float
    before: float
    after: float
    loaded_bytes: int
    moves: int
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy says.

    Parameters
    ----------
    act
        Whether to carry the re-plan out.
    reasons
        Why, or why not: a sentence for each thing that speaks for it, or against it.
    history
        What is to be remembered, under the assumption that the policy is followed.
    """

    act: bool
    reasons: tuple[str, ...]
    history: History


def decide(policy: Policy, seen: Seen, history: History) -> Decision:
    """Say whether a re-plan is to be carried out. Depends on nothing but its arguments.

    A fleet that does not serve everything is always re-planned.
    """
    alarmed = _alarmed(policy, seen, history)
    history = replace(history, alarmed=alarmed)
    if not seen.moves:
        return Decision(act=False, reasons=("no change within the budget pays",), history=history)
    done = replace(history, last_seconds=seen.seconds)
    if seen.needed:
        return Decision(act=True, reasons=("not everything is served as it is",), history=done)
    against = []
    if not alarmed:
        against.append(f"the highest pressure {seen.before:.4g} is below {policy.above:g}")
    waited = seen.seconds - history.last_seconds
    if waited < policy.cooldown_seconds:
        left = policy.cooldown_seconds - waited
        against.append(
            f"the last re-plan was {format_seconds(waited)} ago; "
            f"{format_seconds(left)} of the pause are left"
        )
    share = 1 - seen.after / seen.before if seen.before > 0 else 0.0
    if share < policy.gain - _ROUNDING:
        against.append(
            f"it takes off {format_percent(share)}; "
            f"at least {format_percent(policy.gain)} is asked for"
        )
    tib = seen.loaded_bytes / (1024 * GIB)
    if tib > 0 and share / tib < policy.gain_per_tib - _ROUNDING:
        least = f"at least {format_percent(policy.gain_per_tib)} is asked for"
        against.append(f"it takes off {format_percent(share / tib)} for each TiB to load; {least}")
    if against:
        return Decision(act=False, reasons=tuple(against), history=history)
    return Decision(
        act=True,
        reasons=(f"it takes {format_percent(share)} off the highest pressure",),
        history=done,
    )


def _alarmed(policy: Policy, seen: Seen, history: History) -> bool:
    """Whether the fleet is alarmed now."""
    if seen.before >= policy.above:
        return True
    return history.alarmed and seen.before > policy.below
