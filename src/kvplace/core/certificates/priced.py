"""Whether prices and worths speak of a problem at all."""

from collections import Counter
from itertools import chain
from typing import Any

from kvplace.core.certificates.claim import PRICE_BITS, Certificate
from kvplace.core.problem import Problem

__all__ = ["malformed_prices"]


def malformed_prices(  # noqa: PLR0911 - one return per way to be malformed
    problem: Problem, certificate: Certificate, capacities: Counter[int]
) -> str:
    """Say why a certificate speaks of no problem, or not of this one; empty where it does."""
    threshold, worths = certificate.threshold, dict(certificate.worths)
    if not threshold > 0:
        return f"the threshold {threshold!r} is not above 0"
    if any(problem.fleet.gpu(gpu) is None for gpu in certificate.scope):
        return "its scope names a GPU that the fleet does not have"
    if worths.keys() != capacities.keys() or len(worths) != len(certificate.worths):
        return "the worths do not name each size of memory of the fleet once"
    if len(certificate.prices) != len(problem.models):
        return f"{len(certificate.prices)} prices for {len(problem.models)} models"
    numbers: list[Any] = [*worths.values(), *certificate.prices]
    if not problem.plain:
        table = problem.option_table
        for index, price in enumerate(certificate.prices):
            if not isinstance(price, tuple) or len(price) != table.count(index):
                name, options = problem.models[index].name, table.count(index)
                return f"{name!r} needs {options} prices, one per option"
        numbers = [*worths.values(), *chain.from_iterable(numbers[len(worths) :])]
    if not set(map(type, numbers)) <= {int} or min(numbers, default=0) < 0:
        return "a price or a worth is not a non-negative integer"
    if max(numbers, default=0).bit_length() > PRICE_BITS:
        return f"a price or a worth has more than {PRICE_BITS} bits"
    return ""
