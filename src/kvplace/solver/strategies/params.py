"""Every knob of the strategies, with its unit and how it was found.

``by hand`` means that no systematic search for it is recorded; ``measured`` names what was
compared. What a stage as a whole is worth is on the page docs/stages.md; whoever changes a knob
can make it anew by benchmarks/stages.py.
"""

import math
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ClusterParams", "LargeParams", "Params", "UndividedParams"]

BY_HAND = "by hand"


def _knob(default: Any, unit: str, found: str = BY_HAND) -> Any:
    """Return a field with its default, its unit and how it was found."""
    return field(default=default, metadata={"unit": unit, "found": found})


@dataclass(frozen=True, slots=True)
class UndividedParams:
    """Knobs of the strategy for one undivided replica of each model.

    Parameters
    ----------
    quick_models, quick_density
        Up to so many models, and so many per GPU, the configuration program is asked before any
        search. With more per GPU it takes long and says what the fluid bound says.
    quick_rounds
        Rounds of column generation of that first question.
    tiny_models
        Up to so many models exact decisions come before the local search, too.
    enumerated
        Partial placements looked at where all are tried.
    ranked
        Partial placements looked at for the best balance of a tiny fleet.
    program_models
        Above so many models the configuration program is not asked at all: the fluid bound is
        then as good.
    classes_density
        Up to so many models per GPU the program over size classes is asked instead.
    plain_models
        Up to so many models starts are refined and the rest is balanced in plain Python.
    coarse_tolerance, rough_tolerance, fine_tolerance
        Width of the bisection of a start: of small fleets, of those above `plain_models`, and of
        a second start of those above `tiny_models`. Refined, either may be the better start.
    start_steps
        Exchanges by which each start is refined before they are compared.
    best_fit_density
        Up to so many models per GPU a cover is nearly a matching: exact decisions are then tried
        on fleets of any size, and groups are not refilled.
    program_rounds
        Rounds of column generation per target in the first round; doubled every round.
    nodes
        Nodes of an exact decision in the first round; doubled every round.
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
    squeezes
        Groups without gain, then, that end a target in the first round; doubled every round.
    timed_rounds
        Rounds at most where a time or step limit leaves room for them.
    tiny_rounds
        The same for tiny fleets: what three rounds leave open, rounding keeps open.
    idle_rounds
        Rounds without any gain, each twice the effort of the last, after which even time left
        over is not used.
    default_rounds
        Rounds without a limit.
    certificates
        Certificates of the configuration program tried, the best first.
    checked_part
        Part of the time left that exact decisions leave for checking what they prove.
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

    quick_models: int = _knob(80, "models")
    quick_density: float = _knob(6, "models per GPU")
    quick_rounds: int = _knob(60, "rounds")
    tiny_models: int = _knob(24, "models")
    enumerated: int = _knob(4_000, "partial placements")
    ranked: int = _knob(
        3_000, "partial placements", "measured: 44 of 50 ADRS cases to the last rank"
    )
    program_models: int = _knob(600, "models")
    classes_density: float = _knob(
        2.7, "models per GPU", "measured: halves the gap of 800 models on 400 GPUs in 1.4 s"
    )
    plain_models: int = _knob(300, "models", "measured: numpy's import is 0.2 s of a command")
    coarse_tolerance: float = _knob(1e-2, "relative width")
    rough_tolerance: float = _knob(0.1, "relative width")
    fine_tolerance: float = _knob(1e-9, "relative width")
    start_steps: int = _knob(50, "exchanges", "the iteration limit of the ADRS reference")
    best_fit_density: float = _knob(2.5, "models per GPU")
    program_rounds: int = _knob(60, "rounds")
    nodes: int = _knob(10_000, "nodes")
    packing_nodes: int = _knob(50_000, "nodes")
    searched_gpus: int = _knob(24, "GPUs")
    covered_density: float = _knob(6.0, "models per GPU")
    covered_gpus: int = _knob(18, "GPUs")
    compiled_seconds: float = _knob(5.0, "s", "measured: loading kernels takes 0.5 to 7 s")
    squeezes: int = _knob(300, "groups")
    timed_rounds: int = _knob(20, "rounds")
    tiny_rounds: int = _knob(3, "rounds")
    idle_rounds: int = _knob(4, "rounds")
    default_rounds: int = _knob(1, "rounds")
    certificates: int = _knob(3, "certificates")
    checked_part: float = _knob(0.25, "part of the time left")
    kicks: int = _knob(200, "kicks")
    kicks_per_model: int = _knob(5, "kicks per model")
    compiled_kicks: int = _knob(2_000, "kicks")
    balance_steps: int = _knob(200, "steps")
    balance_per_gpu: int = _knob(10, "steps per GPU")
    balance_gain: float = _knob(1e-6, "relative gain")


@dataclass(frozen=True, slots=True)
class ClusterParams:
    """Knobs of the strategy for tensor parallel, copies, rules and several pressures.

    Parameters
    ----------
    tiny
        GPUs times models up to which every way is enumerated.
    ranked
        Ways of one model tried by the search for the best balance of a tiny cluster.
    steps, few_steps
        Steps of one descent, and of one between compiled exchanges of many GPUs.
    gain, balance_gain
        Relative gains that a step must exceed: of the maximum, and of the balance.
    many
        Models up to which the configuration program is asked for a bound before there is a
        start, and up to which GPUs are emptied and filled again.
    enumerated_part
        Part of the time left that looking at every placement of a tiny cluster may take.
    configured_part, first_part, completed_part
        Parts of the time left: that a start from configurations may take; within it, that the bound
        may take before it, and that placing what it left out may take.
    grids
        Levels of the largest GPU's memory on which such a start fills GPUs, up to so many models:
        each set must fit well where models are few, and exchanges make up for it where they are
        many.
    coarse_grid, coarse_part
        Levels, at least, on which its target is looked for, and what part of those levels.
    completed
        Parts above the target of such a start within which what exceeds it or found no place is
        placed, one after the other.
    soon, sooner_part
        Time that a first plan may take where the limit is over; what bettering one may take.
    bound_part
        Part of the time left that raising the bound may take otherwise; checking its certificate
        takes some.
    loose
        Part above the bound of the target that the program met from which a better bound is
        sought.
    large
        Models times GPUs above which compiled kernels pay.
    starts
        Starts that are descended, the best first.
    at_once
        Turns of compiled exchanges, of many GPUs, without a step in between.
    exchanged_part
        Part of the time left that compiled exchanges may take where other stages come after them.
    turns
        Turns of compiled exchanges and single steps.
    pairs, least_pairs, most_pairs
        Pairs of GPUs looked at per turn in all, and per GPU at least and at most.
    wide_gpus
        GPUs up to which all wide exchanges of the hottest are looked at.
    packed, packed_per_model
        Copies placed at each target by ejection in the first pass; doubled every pass.
    packed_per_missing
        The same, at each target, per model that a start left without a place.
    packed_large, ejected_large
        Where GPUs are many, the same in the first pass, and the part of the gap by which the first
        target is below the value.
    kicks, compiled
        Kicks without gain that end the search of movable shards in the first pass, doubled every
        pass; and the time limit from which it has time to load its kernels.
    refilled, filled
        Models times GPUs from which link domains are filled anew, and options times GPUs up to
        which they are: above, one filling takes long.
    fillings
        Fillings of all link domains at each target in the first pass; doubled every pass.
    most_part, least_filled
        Parts of the gap by which the target is below the value: the first and largest, halved
        after every failure, and the one below which the pass ends.
    filled_part, filled_beside
        Parts of the time left that fillings may take each pass: alone, and with a bound beside.
    filled_gain
        Part of the gap at most that a row of targets leaves after which another one is tried with
        twice the fillings.
    repairs
        Times that a start which breaks something is mended by ejection, each with four times the
        effort, before all is placed anew.
    passes, timed_passes
        Passes without and with a time or step limit.
    quick_options, quick_density
        Under several pressures, up to so many options of all models, and so many models per GPU,
        the configuration program with options is asked.
    tightened_options, tightened_part, aimed
        Under one pressure, or above `quick_options`, up to so many options of all models the
        configuration program with options raises the bound where KV must be left; the part of the
        time left that it may take each pass; and how far above the bound known the highest target
        is while link domains are filled beside.
    asked_options, asked_part
        The options up to which it is asked before link domains are filled under several pressures,
        and the part of the time left that it may take then.
    quick_rounds, program_rounds, limited_rounds
        Rounds of column generation of its first question, and per target then, which are doubled
        every pass; and at least where a time limit ends it while link domains are filled.
    nodes
        Nodes of an exact decision in the first pass; doubled every pass.
    certificates
        Certificates of that program tried, the best first.
    checked_part
        Part of the time left that exact decisions leave for checking what they prove.
    kicked_part
        Part of the time left that kicks may take each pass: what is decided next takes less.
    cases, divided_part
        Cases over options and link domains looked at per target in the first pass, four times as
        many every pass, and the part of the time left that they may take.
    divided, divided_density
        Options times domains, and models per GPU, up to which there are such cases.
    covered_part, covered_gap, covered_most
        Part of the time left that covers by known sets may take each pass, and the gap down to
        which they are sought: below it, exact decisions find more. And the gap up to which they are
        where domains are filled under several pressures.
    """

    tiny: int = _knob(64, "models x GPUs")
    ranked: int = _knob(3_000, "partial placements")
    steps: int = _knob(2_000, "steps")
    few_steps: int = _knob(100, "steps")
    gain: float = _knob(1e-9, "relative gain", "the tolerance of the ADRS reference")
    balance_gain: float = _knob(1e-4, "relative gain")
    many: int = _knob(20_000, "models")
    enumerated_part: float = _knob(
        0.2,
        "part of the time left",
        "measured: a fleet of 8 GPUs and 8 models that takes longer ends 4 to 16 % above its bound "
        "where enumeration may take all of the time, as no bound is asked",
    )
    configured_part: float = _knob(0.65, "part of the time left")
    first_part: float = _knob(0.2, "part of the time left")
    completed_part: float = _knob(0.5, "part of the time left")
    grids: tuple[tuple[float, int], ...] = _knob(
        ((5_000, 2048), (15_000, 1024), (30_000, 512), (math.inf, 256)),
        "models: levels",
        "measured: 19,604 models end 3.3 % above the bound on 512 levels, 78 % on 256; of two "
        "fleets of 3,000 models one ends nearer on 2,048, one on 1,024",
    )
    coarse_grid: int = _knob(256, "levels")
    coarse_part: float = _knob(0.25, "part of the levels")
    completed: tuple[float, ...] = _knob((0.5, 0.2, 0.08, 0.03, 0.01), "parts of the target")
    soon: float = _knob(0.1, "seconds")
    sooner_part: float = _knob(0.2, "part of the time left")
    bound_part: float = _knob(0.8, "part of the time left")
    loose: float = _knob(0.01, "part of the bound")
    large: int = _knob(1_000_000, "models x GPUs")
    starts: int = _knob(3, "starts")
    at_once: int = _knob(8, "turns")
    exchanged_part: float = _knob(0.25, "part of the time left")
    turns: int = _knob(30, "turns")
    pairs: float = _knob(1e6, "pairs")
    least_pairs: float = _knob(10.0, "pairs per GPU")
    most_pairs: float = _knob(400.0, "pairs per GPU")
    wide_gpus: int = _knob(20_000, "GPUs")
    packed: int = _knob(200, "copies")
    packed_per_model: int = _knob(8, "copies per model")
    packed_per_missing: int = _knob(40, "copies per model")
    packed_large: int = _knob(400, "copies")
    ejected_large: float = _knob(
        0.05, "part of the gap", "measured: 0.7 and 0.5 % on two fills of a pool in 60 s"
    )
    kicks: int = _knob(20_000, "kicks")
    compiled: float = _knob(5.0, "seconds")
    refilled: int = _knob(1_000, "models x GPUs")
    filled: int = _knob(2_000_000, "options x GPUs")
    fillings: int = _knob(160, "fillings")
    filled_part: float = _knob(0.55, "part of the time left")
    filled_beside: float = _knob(0.8, "part of the time left")
    filled_gain: float = _knob(0.75, "part of the gap")
    most_part: float = _knob(0.5, "part of the gap")
    least_filled: float = _knob(0.04, "part of the gap")
    repairs: int = _knob(3, "repairs")
    passes: int = _knob(2, "passes")
    timed_passes: int = _knob(12, "passes")
    quick_options: int = _knob(2_000, "options")
    tightened_options: int = _knob(8_000, "options")
    tightened_part: float = _knob(0.5, "part of the time left")
    asked_options: int = _knob(
        2_500,
        "options",
        "measured: two clusters with 3,000 end 10 % and more further above their bounds at 10 s",
    )
    asked_part: float = _knob(0.5, "part of the time left")
    aimed: float = _knob(0.2, "part of the bound")
    quick_density: float = _knob(8, "models per GPU")
    quick_rounds: int = _knob(60, "rounds")
    program_rounds: int = _knob(60, "rounds")
    limited_rounds: int = _knob(4_000, "rounds")
    nodes: int = _knob(10_000, "nodes")
    certificates: int = _knob(3, "certificates")
    checked_part: float = _knob(0.25, "part of the time left")
    cases: int = _knob(200, "cases")
    divided_part: float = _knob(0.8, "part of the time left")
    divided: int = _knob(1_200, "options x link domains")
    divided_density: float = _knob(1.75, "models per GPU")
    covered_part: float = _knob(0.6, "part of the time left")
    covered_gap: float = _knob(0.003, "relative gap")
    covered_most: float = _knob(0.2, "relative gap")
    kicked_part: float = _knob(0.4, "part of the time left")


@dataclass(frozen=True, slots=True)
class LargeParams:
    """Knobs of the strategy for thousands of undivided models and more.

    Parameters
    ----------
    models, dealt, loading
        Above so many models it takes over, and up to so many not where less time is left.
    sparse_models, sparse_density
        Up to so many models it does not where at most so many share a GPU: kicks are then worth
        more than many exchanges, as long as they are affordable.
    pairs, least_pairs, most_pairs
        Pairs of GPUs of many models looked at without a time limit in all, and per GPU at least
        and at most; pairs of few models count less.
    rest_part
        Part of that effort for what a proved optimum leaves open.
    fixed
        Subsets that cost as much as finding two GPUs' models in memory.
    few
        Models per GPU up to which the configuration program is asked for a bound.
    certificate
        Time kept for checking the certificate of that program, in multiples of that for loading.
    bound_part
        The program is not asked where that would be more than this part of the time left.
    patience, timed_patience
        Effort without a gain that ends the search, in multiples of the default: without and with
        a time or step limit.
    """

    models: int = _knob(600, "models")
    dealt: int = _knob(5_000, "models")
    loading: float = _knob(0.5, "seconds")
    sparse_models: int = _knob(2_000, "models")
    sparse_density: float = _knob(6.0, "models per GPU")
    pairs: float = _knob(1.2e6, "pairs")
    least_pairs: float = _knob(10.0, "pairs per GPU")
    most_pairs: float = _knob(40.0, "pairs per GPU")
    rest_part: float = _knob(0.25, "part of the effort")
    fixed: int = _knob(30, "subsets")
    few: float = _knob(2.7, "models per GPU")
    certificate: float = _knob(7.0, "multiple of the loading time", "200,000 models: 6.5")
    bound_part: float = _knob(0.5, "part of the time left")
    patience: float = _knob(0.5, "multiple of the effort")
    timed_patience: float = _knob(2.0, "multiple of the effort")


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
    cluster_evaluation, cluster_certificate
        The same for each of the two, of clusters.
    pressure_evaluation
        The same of large fleets under several pressures, in multiples of that for loading the
        problem alone: their first bound takes longer than both.
    """

    undivided: UndividedParams = field(default_factory=UndividedParams)
    cluster: ClusterParams = field(default_factory=ClusterParams)
    large: LargeParams = field(default_factory=LargeParams)
    spread_models: int = _knob(1_000, "models")
    reference_steps: int = _knob(50, "steps", "the iteration limit of the ADRS reference")
    evaluation: float = _knob(1.75, "multiple of the loading time", "measured on scale-10-1m")
    pressure_evaluation: float = _knob(
        1.1, "multiple of the loading time", "measured on 300,000 models: 1.0 to 1.1"
    )
    cluster_evaluation: float = _knob(1.4, "multiple of the loading time", "measured: 0.3 to 1.4")
    cluster_certificate: float = _knob(0.6, "multiple of the loading time", "measured: 0.2 to 0.6")
