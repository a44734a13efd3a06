"""Seconds of one decode step and of one prefill: a roofline with constants per GPU type.

A decode step reads every dense weight once, the experts that its tokens are sent to, and the KV
cache of every sequence; it multiplies each token with the active parameters. Reading and
multiplying overlap in part, which the smooth maximum ``(a^s + b^s)^(1/s)`` expresses; the time
that no reading and no multiplying explains (launches, norms, sampling) grows with the layers.
A rank of a tensor-parallel copy does its part of both, and the ranks add up what they computed
twice per layer.

The roofline is that of Williams, Waterman and Patterson (2009), "Roofline: an insightful visual
performance model for multicore architectures", CACM 52(4). The share of experts that `n` tokens
touch, ``1 - (1 - k/E)^n``, holds for tokens sent independently and evenly.
"""

from typing import NamedTuple


class StepTime(NamedTuple):
    """The coefficients of one model on one GPU type at one tensor-parallel degree.

    Parameters
    ----------
    fixed_seconds
        What every step takes, whatever its batch.
    dense_seconds
        Reading once what every token is multiplied with.
    experts_seconds
        Reading all routed experts once; 0 for a dense model.
    expert_share
        Part of the experts that one token is sent to, ``k/E``.
    token_seconds
        Multiplying one token with the active parameters.
    kv_token_seconds
        Reading one cached token, over all layers that keep all tokens.
    window_token_seconds, window_tokens
        Reading one cached token of the layers with a sliding window, and the window.
    sequence_seconds
        Reading and writing the fixed state of one sequence, and what else each costs.
    attention_seconds
        Attention of one token to one earlier token in a prefill.
    link_seconds
        Sending the activations of one token between the ranks of a copy.
    sharpness
        Exponent `s` of the smooth maximum: 1 adds, infinity takes the larger.

    Notes
    -----
    `decode_seconds` and `prefill_seconds` are written with ``**``, ``*`` and ``min`` alone; a
    caller with arrays may use the coefficients in the same formulas.
    """

    fixed_seconds: float
    dense_seconds: float
    experts_seconds: float
    expert_share: float
    token_seconds: float
    kv_token_seconds: float
    window_token_seconds: float = 0.0
    window_tokens: float = 0.0
    sequence_seconds: float = 0.0
    attention_seconds: float = 0.0
    link_seconds: float = 0.0
    sharpness: float = 1.25

    def weights_seconds(self, tokens: float) -> float:
        """Return the time of reading and multiplying the weights for so many tokens."""
        touched = 1 - (1 - self.expert_share) ** tokens if self.experts_seconds else 0.0
        reading = self.dense_seconds + self.experts_seconds * touched
        return _smooth_max(reading, self.token_seconds * tokens, self.sharpness)

    def cache_seconds(self, context: float) -> float:
        """Return the time of reading the cache of one sequence of so many tokens."""
        seconds = self.sequence_seconds + self.kv_token_seconds * context
        if self.window_token_seconds:
            seconds += self.window_token_seconds * min(context, self.window_tokens)
        return seconds


def decode_seconds(times: StepTime, batch: float, context: float) -> float:
    """Return the seconds of a step that gives each sequence of a batch one more token.

    Parameters
    ----------
    times
        The coefficients.
    batch
        Sequences in the step; may be fractional, as a mean.
    context
        Mean tokens that each holds.
    """
    return (
        times.fixed_seconds
        + times.weights_seconds(batch)
        + batch * (times.cache_seconds(context) + times.link_seconds)
    )


def prefill_seconds(times: StepTime, tokens: float, cached: float = 0.0) -> float:
    """Return the seconds that the engine works on one prompt.

    Parameters
    ----------
    times
        The coefficients.
    tokens
        Tokens of the prompt.
    cached
        Those of them that a prefix cache already holds; they are attended to, not computed.

    Notes
    -----
    A prompt that is prefilled in chunks pays `StepTime.fixed_seconds` and the reading of weights
    once per chunk in steps that decode as well, which `decode_seconds` counts; here it is once.
    """
    new = max(0.0, tokens - cached)
    if new == 0:
        return 0.0
    pairs = new * (cached + new / 2)
    return (
        times.fixed_seconds
        + times.weights_seconds(new)
        + times.attention_seconds * pairs
        + times.kv_token_seconds * tokens
        + new * times.link_seconds
    )


def _smooth_max(first: float, second: float, sharpness: float) -> float:
    """Return ``(first^s + second^s)^(1/s)``, scaled so that small numbers do not vanish."""
    smaller, larger = (first, second) if first < second else (second, first)
    if larger == 0:
        return 0.0
    return float(larger * (1 + (smaller / larger) ** sharpness) ** (1 / sharpness))
