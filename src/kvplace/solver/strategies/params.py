"""Every knob of the strategies, with its unit and how it was found.

``by hand`` means that no systematic search for it is recorded; ``measured`` names what was
compared. What a stage as a whole is worth is on the page docs/stages.md; whoever changes a knob
can make it anew by benchmarks/stages.py.
"""

from dataclasses import dataclass, field

from kvplace.solver.strategies.cluster_params import ClusterParams
from kvplace.solver.strategies.knob import ProofParams, knob

__all__ = ["ClusterParams", "LargeParams", "Params", "UndividedParams"]


@dataclass(frozen=True, slots=True)
class UndividedParams(ProofParams):
    """Knobs of the strategy for one undivided replica of each model.

    Parameters
    ----------
    quick_models, quick_density
        Up to so many models, and so many per GPU, the configuration program is asked before any
        search. With more per GPU it takes long and says what the fluid bound says.
    tiny_models
        Up to so many models exact decisions come before the local search, too.
    enumerated
        Partial placements looked at where all are tried.
    program_models
        Above so many models the configuration program is not asked at all: the fluid bound is
        then as good.
    plain_models
        Up to so many models starts are refined and the rest is balanced in plain Python.
    start_tolerance
        Width of the bisection of a start.
    start_steps
        Exchanges by which each start is refined before they are compared.
    best_fit_density
        Up to so many models per GPU a cover is nearly a matching: exact decisions are then tried
        on fleets of any size, and groups are not refilled.
    packing_nodes
        Nodes of the exact packing where no rule packs the weights.
    searched_gpus
        Up to so many GPUs an exact search is tried in the first round; doubled every round.
    covered_density
        Above so many models per GPU a group has too many sets to be refilled exactly.
    covered_gpus
        Up to so many GPUs exact decisions do as much.
    compiled_seconds
        A time limit that leaves room to load compiled kernels for refilling groups.
    timed_rounds
        Rounds at most where a time or step limit leaves room for them.
    tiny_rounds
        The same for tiny fleets: what three rounds leave open, rounding keeps open.
    idle_rounds
        Rounds without any gain, each twice the effort of the last, after which even time left
        over is not used.
    default_rounds
        Rounds without a limit.
    kicks
        Kicks without gain that end the local search of the first round; doubled every round.
    kicks_per_model
        The same per model, where that is fewer.
    compiled_kicks
        The same by compiled kernels, where a time limit leaves room for them: the others are then
        as many in every round.
    balance_steps, balance_per_gpu
        Steps of the balance at most, and more per GPU.
    balance_gain
        Relative gain that a step of the balance must exceed.
    """

    quick_models: int = knob(80, "models")
    quick_density: float = knob(6, "models per GPU")
    tiny_models: int = knob(24, "models")
    enumerated: int = knob(4_000, "partial placements")
    program_models: int = knob(600, "models")
    plain_models: int = knob(300, "models", "measured: numpy's import is 0.2 s of a command")
    start_tolerance: float = knob(1e-2, "relative width")
    start_steps: int = knob(50, "exchanges", "the iteration limit of the ADRS reference")
    best_fit_density: float = knob(2.5, "models per GPU")
    packing_nodes: int = knob(50_000, "nodes")
    searched_gpus: int = knob(24, "GPUs")
    covered_density: float = knob(6.0, "models per GPU")
    covered_gpus: int = knob(18, "GPUs")
    compiled_seconds: float = knob(5.0, "s", "measured: loading kernels takes 0.5 to 7 s")
    timed_rounds: int = knob(20, "rounds")
    tiny_rounds: int = knob(3, "rounds")
    idle_rounds: int = knob(4, "rounds")
    default_rounds: int = knob(1, "rounds")
    kicks: int = knob(200, "kicks")
    kicks_per_model: int = knob(5, "kicks per model")
    compiled_kicks: int = knob(2_000, "kicks")
    balance_steps: int = knob(200, "steps")
    balance_per_gpu: int = knob(10, "steps per GPU")
    balance_gain: float = knob(1e-6, "relative gain")


@dataclass(frozen=True, slots=True)
class LargeParams:
    """Knobs of the strategy for thousands of undivided models and more.

    Parameters
    ----------
    models, dealt, loading
        Above so many models it takes over, and up to so many not where less time is left.
    sparse_models, sparse_density
        Up to so many models, where at most so many share a GPU, it does not take over where twice
        as much time is not left or kernels are not compiled yet.
    pairs, least_pairs, most_pairs
        Pairs of GPUs of many models looked at without a time limit in all, and per GPU at least
        and at most; pairs of few models count less.
    rest_part
        Part of that effort for what a proved optimum leaves open.
    fixed
        Ways to share out a pair that cost as much as finding two GPUs' models in memory.
    few
        Models per GPU up to which first fit is tried as well, and the configuration program asked.
    certificate
        Time kept for checking the certificate of that program, in multiples of that for loading.
    bound_part
        The program is not asked where that would be more than this part of the time left.
    priced, priced_pressures, priced_density
        Models, pressures and models per GPU up to which the program on single models is asked.
    priced_part, priced_rounds
        Part of the time left that it may take, and rounds of column generation per target.
    certificates
        Certificates of it tried, the best first.
    packed, packings
        Effort of packing memory that is nearly full, in multiples of the default, before it is
        asked whether there is a way; and times that it is gone on with without a time limit.
    filled_gpus, filled_density, filled_above
        GPUs, models per GPU, and distance of the value from the bound, from which GPUs that are
        alike are filled one after the other under several pressures.
    filled_gap
        Part of that distance at which the next target is.
    filled_part, last_part
        Part of the time left that it may take; and of the GPUs that may exceed a target then.
    kicks, rounds
        Kicks without a gain that end the first round of them, doubled every round, and rounds.
    few_kicks, turns
        The same under several pressures, where exchanges between all GPUs follow in each round.
    kicked_gpus, kicked_patience
        GPUs up to which there is time for kicks, which look at all of them; and effort without a
        gain, in multiples of the default, after which they begin.
    patience, timed_patience
        Effort without a gain that ends the search, in multiples of the default: without and with
        a time or step limit.
    """

    models: int = knob(600, "models")
    dealt: int = knob(5_000, "models")
    loading: float = knob(0.5, "seconds")
    sparse_models: int = knob(2_000, "models")
    sparse_density: float = knob(6.0, "models per GPU")
    pairs: float = knob(1.7e6, "pairs")
    least_pairs: float = knob(14.0, "pairs per GPU")
    most_pairs: float = knob(56.0, "pairs per GPU")
    rest_part: float = knob(0.25, "part of the effort")
    fixed: int = knob(80, "ways")
    few: float = knob(2.7, "models per GPU")
    certificate: float = knob(18.0, "multiple of the loading time", "200,000 models: 14 to 19")
    bound_part: float = knob(0.5, "part of the time left")
    priced: int = knob(1_000, "models")
    priced_pressures: int = knob(6, "pressures", "measured: with 8 and 12 no target is decided")
    priced_density: float = knob(2.2, "models per GPU", "measured: 2.25 and 2.7 end further")
    priced_part: float = knob(0.5, "part of the time left")
    priced_rounds: int = knob(50, "rounds")
    certificates: int = knob(3, "certificates")
    packed: float = knob(0.3, "multiple of the effort")
    packings: int = knob(8, "times")
    filled_gpus: int = knob(400, "GPUs", "measured: 200 GPUs end 4.7 % above the bound, for 4.4")
    filled_density: float = knob(3.5, "models per GPU")
    filled_above: float = knob(0.01, "part of the bound")
    filled_gap: float = knob(0.88, "part of the gap")
    filled_part: float = knob(0.9, "part of the time left")
    last_part: float = knob(0.15, "part of the GPUs")
    kicks: int = knob(2_000, "kicks")
    few_kicks: int = knob(64, "kicks", "measured: 6 of 6 fleets nearer than with kicks alone")
    turns: int = knob(10_000, "rounds")
    kicked_gpus: int = knob(5_000, "GPUs")
    kicked_patience: float = knob(0.3, "multiple of the effort")
    rounds: int = knob(12, "rounds")
    patience: float = knob(0.5, "multiple of the effort")
    timed_patience: float = knob(2.0, "multiple of the effort")


@dataclass(frozen=True, slots=True)
class Params:
    """All knobs of the strategies.

    Parameters
    ----------
    undivided, cluster, large
        Of each strategy.
    spread_models
        Most models without demand that are spread by free memory.
    reference_steps
        Steps of the solver ``reference`` and of `refine` where none are given.
    evaluation
        Time kept for evaluating the plan of a large fleet and certifying its bound, in multiples of
        that for loading the problem and its first bound.
    cluster_evaluation, cluster_pressure_evaluation, cluster_certificate
        The same for each of the two, of clusters; under several pressures evaluating takes less of
        it. Under one, the loading time counts by 2 / (1 + options per model), for options are
        evaluated no more.
    pressure_evaluation
        The same of large fleets under several pressures, in multiples of that for loading the
        problem alone: their first bound takes longer than both.
    pressure_priced
        The same per model at least, where the certificate is a price of each.
    """

    undivided: UndividedParams = field(default_factory=UndividedParams)
    cluster: ClusterParams = field(default_factory=ClusterParams)
    large: LargeParams = field(default_factory=LargeParams)
    spread_models: int = knob(1_000, "models")
    reference_steps: int = knob(50, "steps", "the iteration limit of the ADRS reference")
    evaluation: float = knob(2.75, "multiple of the loading time", "measured: 200,000 models")
    pressure_evaluation: float = knob(
        1.1, "multiple of the loading time", "measured on 300,000 models: 1.0 to 1.1"
    )
    pressure_priced: float = knob(6.6e-5, "seconds", "measured: 1.1e-5 to 6.6e-5")
    cluster_evaluation: float = knob(
        3.2, "multiple of the loading time", "measured on 200,000 models, some split: 2.9 to 3.4"
    )
    cluster_pressure_evaluation: float = knob(
        1.4, "multiple of the loading time", "measured: 0.3 to 1.4"
    )
    cluster_certificate: float = knob(
        0.6, "multiple of the loading time", "measured on 200,000 models, some split: 0.5"
    )
