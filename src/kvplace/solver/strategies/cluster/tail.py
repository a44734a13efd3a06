"""The tail of a mixed cluster: the models that fit only on the GPUs with most memory.

What they cannot reach on the whole cluster, all models cannot. A pool is often short of its largest
GPUs while the others have room to spare. Of these few models the configuration program with options
takes seconds, where levels of the whole pool round off more than the bound is worth.
"""

from dataclasses import replace

from kvplace.core.certificates.certificate import Bound, Certificate
from kvplace.core.problem import Problem
from kvplace.solver.bounds.certify import checked
from kvplace.solver.bounds.option_prices import priced_options
from kvplace.solver.clock import Watch, Within
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.exact.close_gap import Proof, climb
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.options import Chooser
from kvplace.solver.strategies.cluster_params import ClusterParams


class Tail:
    """The configuration program with options of the models of a tail, on all GPUs.

    Parameters
    ----------
    whole, part
        The problem, and that of the models of the tail.
    low
        The bound known.
    compiled
        Whether compiled kernels look for sets.
    """

    def __init__(self, whole: Problem, part: Problem, low: float, *, compiled: bool) -> None:
        self._whole, self._part = whole, part
        self._proof = Proof(OptionSets(load_instance(part), compiled=compiled), low)

    def rise(
        self, low: float, value: float, part: float, knobs: ClusterParams, watch: Watch
    ) -> Bound | None:
        """Look for a bound in a part of the time left.

        Parameters
        ----------
        low, value
            The best bound and the best value known.
        part
            Part of the time left that it may take.
        knobs, watch
            Of the search.
        """
        proof, within = self._proof, Within(watch, watch.left * part)
        proof.value, proof.verdicts = low, []
        climb(proof, value, knobs.limited_rounds, within, knobs.aimed)
        for verdict in proof.verdicts[: -1 - knobs.certificates : -1]:
            prices = self._of_whole(priced_options(self._part, proof.program, verdict))
            bound = checked(self._whole, "configuration", prices, watch)
            if bound is not None:
                return bound
        return None

    def _of_whole(self, certificate: Certificate) -> Certificate:
        """Return a certificate as one of the whole problem, in which other models cost nothing."""
        rows = dict(zip(self._part.names, certificate.prices, strict=True))
        table = self._whole.option_table
        prices: list[int | tuple[int, ...]] = []
        for index, name in enumerate(self._whole.names):
            price = rows.get(name, 0)
            if isinstance(price, int) and not self._whole.plain:
                prices.append((price,) * table.count(index))
            else:
                prices.append(price)
        return replace(certificate, prices=tuple(prices))


def tail_of(problem: Problem, chooser: Chooser, low: float, most: int) -> Problem | None:
    """Return the problem of the longest tail that has few enough options; None for none.

    Parameters
    ----------
    problem
        Of one pressure.
    chooser
        The options of its models.
    low
        Max pressure at which models of the tail fit only on GPUs with more memory than others.
    most
        Options of all models of the tail at most.
    """
    for _, some in chooser.confined(low, most):
        index = chooser.instance.model_index
        models = tuple(problem.models[index[j]] for j in some.tolist())
        return replace(problem, models=models, rules=(), timing=None)
    return None
