"""From names, demand and objectives to what goes into a new fleet file."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from kvplace.core.fact import Fact
from kvplace.core.models.architecture import Architecture
from kvplace.demand.summary import DemandSummary, ModelDemand
from kvplace.demand.windows import DemandWindows
from kvplace.errors import Fault, InputError
from kvplace.facts.catalogue.shapes import known_shape
from kvplace.facts.checkpoint.paths import is_there
from kvplace.facts.find import find_facts
from kvplace.facts.memory.degree import smallest_degree
from kvplace.facts.memory.figures import cache_figures
from kvplace.facts.model_facts import ModelFacts
from kvplace.scaffold.demand import absent_from_demand, demand_of, in_windows, rate
from kvplace.scaffold.deployments.command_line.flags import Memory
from kvplace.scaffold.deployments.deployment import Deployment, Unread
from kvplace.scaffold.fleet_text import InitModel, InitNodes

_MOST_TOKENS = 1_000_000
"""Tokens of a request that a fleet file states at most."""
_SIDE_BY_SIDE = 8
"""Look-ups at once: each waits for the hub, and retries where it is out of reach."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked for beside models, GPUs and demand.

    Parameters
    ----------
    ttft_seconds, tpot_seconds, latency_seconds
        Objectives for every model; None for what was observed.
    degree
        Tensor parallel degree of every model; None for the smallest that fits.
    replicas
        Copies that the planner may choose.
    aliases
        Name in the demand of a model.
    facts, kv_dtype
        As in `kvplace.facts.find.find_facts`.
    """

    ttft_seconds: float | None = None
    tpot_seconds: float | None = None
    latency_seconds: float | None = None
    degree: int | None = None
    replicas: tuple[int, int] = (1, 1)
    aliases: Mapping[str, str] = field(default_factory=dict)
    facts: str = "auto"
    kv_dtype: str = "auto"


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was found out.

    Parameters
    ----------
    models
        What goes into the file.
    names
        By which each of them was asked for, in the same order.
    unread
        What holds GPUs and has no figures that could be known.
    notes
        For the user.
    """

    models: list[InitModel]
    names: list[str]
    unread: list[Unread]
    notes: list[str] = field(default_factory=list)


def gather_models(
    names: Sequence[str],
    nodes: Sequence[InitNodes],
    demand: DemandSummary | None,
    wishes: Wishes,
    deployment: Deployment | None = None,
    windows: DemandWindows | None = None,
    *,
    keep_unknown: bool = False,
) -> Gathered:
    """Find out everything that a fleet file says of models.

    Parameters
    ----------
    names
        Directories or hub ids; where there is none, those of the demand, by their aliases.
    nodes
        GPUs that they are to run on.
    demand
        What is asked of them; None for standbys. A model that it does not name is a standby, too,
        which a note says.
    wishes
        Objectives and choices.
    deployment
        What runs now: its degrees and numbers of copies are kept.
    windows
        What is asked of them in each window; None for one demand each.
    keep_unknown
        Count a model of the deployment whose figures cannot be known among what holds GPUs and
        is not understood, in place of raising.

    Raises
    ------
    InputError
        A figure cannot be known, or the demand names none of the models: all models' faults at
        once.
    """
    asked = {model.model: model for model in demand.models} if demand else {}
    names = list(dict.fromkeys(names))
    named_by_log = not names
    names = names or list(dict.fromkeys(wishes.aliases.get(label, label) for label in asked))
    gathered = Gathered([], [], [])
    faults: list[Fault] = []
    owned = {name: demand_of(name, asked, wishes.aliases) for name in names}
    used = {own.model for own in owned.values() if own is not None}
    left = [name for name in asked if name not in used]
    runs = {name: running_memory(name, deployment) for name in names}
    found = _look_up(names, wishes, runs, hub=not named_by_log)
    for name, facts in zip(names, found, strict=True):
        own = owned[name]
        running = [i for i in deployment.instances if i.model == name] if deployment else []
        if demand and own is None:
            absent = absent_from_demand(name, left)
            if isinstance(facts, InputError) and keep_unknown and running:
                pass  # what cannot be read needs no demand
            elif isinstance(facts, InputError) or not used:
                faults.append(Fault(absent, name))
            else:
                gathered.notes.append(f"{name} is a standby: {absent}")
        try:
            if isinstance(facts, InputError):
                raise facts
            gathered.models.append(
                _model(
                    name,
                    facts,
                    own,
                    nodes=nodes,
                    wishes=wishes,
                    deployment=deployment,
                    memory=runs[name],
                    windows=windows,
                    why_none="the demand does not name it" if demand else "no demand was given",
                )
            )
            gathered.names.append(name)
            if runs[name].uncounted:
                gathered.notes.append(
                    f"{name} runs with {', '.join(runs[name].uncounted)}, which changes what it "
                    "takes and is not counted; kvplace measure LOG --fleet FILE writes what is"
                )
        except InputError as error:
            own_faults = [Fault(fault.message, fault.path or name) for fault in error.faults]
            if keep_unknown and running:
                why = own_faults[0].message
                gathered.unread.extend(
                    Unread(i.name, f"{name}: {why}", i.gpus, i.degree, i.host) for i in running
                )
            else:
                faults += own_faults
    if faults:
        raise InputError(faults)
    if left:
        gathered.notes.append(f"demand of {', '.join(left)} is left out: no such model is named")
    return gathered


def running_memory(name: str, deployment: Deployment | None) -> Memory:
    """Return what the commands of a model's copies say of memory, as far as they agree.

    Of lengths of requests the longest.
    """
    said = [i.memory for i in deployment.instances if i.model == name] if deployment else []
    engines, types = {one.engine for one in said}, {one.kv_dtype for one in said}
    return Memory(
        engines.pop() if len(engines) == 1 else "",
        types.pop() if len(types) == 1 else "",
        max((one.max_model_len for one in said), default=0),
        tuple(dict.fromkeys(flag for one in said for flag in one.uncounted)),
    )


def _look_up(
    names: Sequence[str], wishes: Wishes, runs: Mapping[str, Memory], *, hub: bool
) -> list[ModelFacts | InputError]:
    """Return the facts of every model, or why they are not known; look-ups run side by side.

    A name that comes from a log is looked for on the hub only where it has the form of a hub id.
    """

    def facts_of(name: str) -> ModelFacts | InputError:
        source = wishes.facts
        if not hub and source == "auto" and "/" not in name and not is_there(name):
            source = "catalogue"
        try:
            engine = runs[name].engine or "vllm"
            kind = _kv_dtype(wishes, runs[name])  # all types of 8 bits take the same
            return find_facts(name, source, "fp8" if kind.startswith("fp8_") else kind, engine)
        except InputError as error:
            if source == "catalogue" and wishes.facts == "auto":
                return InputError(
                    f"the log calls a model so; say which model it is with --alias {name}=MODEL",
                    name,
                )
            return error

    if len(names) < 2:
        return [facts_of(name) for name in names]
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return list(pool.map(facts_of, names))


def _kv_dtype(wishes: Wishes, memory: Memory) -> str:
    """Return the type of the KV cache: asked for, or else as it runs."""
    return wishes.kv_dtype if wishes.kv_dtype != "auto" else memory.kv_dtype or "auto"


def _model(
    name: str,
    facts: ModelFacts,
    own: ModelDemand | None,
    *,
    nodes: Sequence[InitNodes],
    wishes: Wishes,
    deployment: Deployment | None,
    memory: Memory,
    windows: DemandWindows | None,
    why_none: str,
) -> InitModel:
    """Put one model together."""
    degree = _degree(facts, nodes, wishes, deployment, name)
    cached = cache_figures(facts, degree.value)
    notes = list(cached.notes)
    running = [i for i in deployment.instances if i.model == name] if deployment else []
    low, high = wishes.replicas
    copies = Fact((low, high), "as asked" if (low, high) != (1, 1) else "one copy")
    if running:
        copies = Fact((len(running), len(running)), f"copies that run now: {len(running)}")
    asked_rate = Fact(0.0, f"{why_none}: a standby; put its rate here")
    if own is not None:
        asked_rate = rate(own)
        if own.peaks_with:
            notes.append(f"peaks together with {', '.join(own.peaks_with[:5])}")
    ttft, tpot, latency = _objectives(own, wishes, name)
    written = name
    if own is None and not running:
        written = facts.name
    elif "/" not in facts.name and name != facts.name:
        written = name.rstrip("/").rpartition("/")[2]
    return InitModel(
        name=written,
        weights_bytes=facts.weights_bytes,
        kv_bytes_per_token=cached.bytes_per_token,
        kv_bytes_per_sequence=cached.bytes_per_sequence,
        sliding_windows=cached.windows,
        kv_block_tokens=None if memory.engine == "sglang" else cached.block_tokens,
        max_model_len=_length(memory),
        split=cached.split,
        shape=_new_shape(written, facts),
        tensor_parallel=degree,
        replicas=copies,
        requests_per_second=asked_rate,
        prompt_tokens=own.prompt_tokens if own else None,
        output_tokens=own.output_tokens if own else None,
        cached_tokens=own.cached_tokens if own else None,
        dispersion=own.dispersion if own else None,
        windows=in_windows(own.model, windows) if own and windows else (),
        ttft_seconds=ttft,
        tpot_seconds=tpot,
        latency_seconds=latency,
        notes=tuple(notes),
        source=_source(name, wishes),
        engine=memory.engine if memory.engine == "sglang" else "",
        kv_dtype=_kv_dtype(wishes, memory),
    )


def _length(memory: Memory) -> Fact[int] | None:
    """Return the most tokens of a request as it runs, where a fleet file can state them."""
    tokens = memory.max_model_len
    return Fact(tokens, "as it runs now") if 0 < tokens <= _MOST_TOKENS else None


def _source(name: str, wishes: Wishes) -> Fact[str] | None:
    """Return the path of a model that was read from files, which its name does not tell."""
    if wishes.facts != "auto" or not is_there(name):
        return None
    return Fact(str(Path(name).absolute()), "as read here; write where it is on the hosts")


def _new_shape(name: str, facts: ModelFacts) -> Architecture | None:
    """Return the shape where the reader of the file would not know it by the model's name."""
    known = known_shape(name, facts.weights_bytes.value)
    return facts.shape if known is None else None


def _degree(
    facts: ModelFacts,
    nodes: Sequence[InitNodes],
    wishes: Wishes,
    deployment: Deployment | None,
    name: str,
) -> Fact[int]:
    """Return the tensor parallel degree: asked for, running, or the smallest that fits."""
    if wishes.degree is not None:
        facts.layout.bytes_per_token(wishes.degree)  # refuses a degree that does not divide
        heads = facts.shape.heads if facts.shape else 0
        if heads % wishes.degree:
            raise InputError(
                f"{heads} attention heads do not split over {wishes.degree} ranks; use a tensor "
                "parallel degree that divides them",
                name,
            )
        return Fact(wishes.degree, "as asked")
    running = {i.degree for i in deployment.instances if i.model == name} if deployment else set()
    if len(running) > 1:
        raise InputError(
            f"its copies run with the degrees {', '.join(map(str, sorted(running)))}; a model has "
            "one here, so pass --tensor-parallel",
            name,
        )
    if running:
        return Fact(running.pop(), "as it runs now")
    largest = max(group.memory_bytes.value for group in nodes)
    most = max(group.gpus for group in nodes)
    return smallest_degree(facts, largest, most)


def _objectives(
    own: ModelDemand | None, wishes: Wishes, name: str
) -> tuple[Fact[float] | None, Fact[float] | None, Fact[float] | None]:
    """Return the objectives: asked for, or else what was observed."""

    def chosen(asked: float | None, observed: Fact[float] | None) -> Fact[float] | None:
        if asked is not None:
            return Fact(asked, "as asked")
        if observed is None:
            return None
        return Fact(observed.value, f"observed: {observed.origin}; put your objective here")

    ttft = chosen(wishes.ttft_seconds, own.latency.ttft_seconds if own else None)
    tpot = chosen(wishes.tpot_seconds, own.latency.tpot_seconds if own else None)
    latency = chosen(wishes.latency_seconds, None)
    if own is not None and own.mean_rate > 0 and latency is None:
        if ttft is None or tpot is None:
            raise InputError(
                "no latency objective is known; pass --ttft and --tpot, or --latency", name
            )
        if own.output_tokens is None:
            raise InputError(
                "the demand tells no output tokens, so the time of a request does not follow from "
                "--ttft and --tpot; pass --latency, or name the column with --output-column",
                name,
            )
    return ttft, tpot, latency
