"""Prices of GPUs: a file that maps GPU types to what one costs per hour."""

import math
import os
from collections.abc import Mapping

from kvplace.files import read_text
from kvplace.formats.diagnostics import kind_of, shown
from kvplace.formats.text.document import mapping_of


def read_prices(path: str | os.PathLike[str]) -> Mapping[str, float]:
    """Read what a GPU of each type costs per hour, in any one currency.

    Parameters
    ----------
    path
        YAML or JSON: a mapping of types to numbers above 0, ``H100-SXM-80GB: 2.5``.

    Raises
    ------
    InputError
        With everything that is wrong with the file, each fault with its line.
    """
    source = os.fspath(path)
    data, report = mapping_of(read_text(source), source, "prices")
    if not data:
        report.stop((), "it holds no prices")
    prices: dict[str, float] = {}
    for name, price in data.items():
        if isinstance(price, bool) or not isinstance(price, int | float):
            message = f"must be what one such GPU costs per hour, like 2.5, not {kind_of(price)}"
            report.add((str(name),), message)
        elif not 0 < price < math.inf:
            report.add((str(name),), f"{shown(price)} is not a price above 0")
        else:
            prices[str(name)] = float(price)
    report.refuse()
    return prices
