"""What a fleet file leaves out of a model and facts can tell: shape, memory, length of requests."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

from kvplace.core.hardware import Node
from kvplace.core.models.architecture import Architecture
from kvplace.core.models.launch import Launch
from kvplace.core.models.model import DEFAULT_OVERHEAD_BYTES, Model
from kvplace.facts.catalogue.gpus import GPUType, find_gpu_type
from kvplace.facts.catalogue.models import KnownModel, known_model, known_models
from kvplace.facts.catalogue.shapes import known_names, known_shape
from kvplace.facts.memory.loaded import loaded_weights
from kvplace.facts.memory.overhead import EngineLimits, engine_limits, overhead, overhead_of_unknown

SHARED = EngineLimits(2048, 256)
"""Limits of a step of engines that share GPUs: vLLM's own on GPUs below 70 GiB. At 1,024
sequences the logits of each engine would take several GiB more."""

_TIMES_MEAN, _STEP = 4, 1024
"""A request of the longest kind is taken to have four times the tokens of the mean one: lengths
spread about log-normally, and with a coefficient of variation of 1 less than 2 % are longer."""
_RELEASE = re.compile(r"v?(\d+)\.(\d+)")


class _Asked(Protocol):
    """Token counts of the mean request."""

    @property
    def prompt_tokens(self) -> float | None: ...
    @property
    def output_tokens(self) -> float | None: ...


class Stated(Protocol):
    """What estimates need of a model: a `Model`, or what a file states of one."""

    @property
    def weights_bytes(self) -> int:
        """One copy, before any split."""
        ...

    @property
    def architecture(self) -> Architecture | None:
        """Its shape, where it is stated."""
        ...

    @property
    def max_model_len(self) -> int | None:
        """Most tokens of one request, where it is stated."""
        ...

    @property
    def tensor_parallel(self) -> tuple[int, ...]:
        """Allowed degrees."""
        ...

    @property
    def gpu_types(self) -> tuple[str, ...] | None:
        """GPU types that it may run on; none for all."""
        ...

    @property
    def demand(self) -> _Asked:
        """Its mean request."""
        ...


class Estimates:
    """Estimates for the models of one fleet.

    Parameters
    ----------
    nodes
        The fleet: the types of its GPUs decide the limits that engines take by default.
    shards
        Fewest shards that all models together have. Where they are more than the GPUs, engines
        share GPUs and are started with lower limits.
    """

    def __init__(self, nodes: Sequence[Node], shards: int) -> None:
        gpus = [gpu.type for node in nodes for gpu in node.gpus]
        self._types = {kind: find_gpu_type(kind) for kind in sorted(set(gpus))}
        self._shared = shards > len(gpus)

    def launch(self, launch: Launch, allowed: Sequence[str]) -> Launch:
        """Return a launch with the limits of a step that its memory is estimated for.

        Those that it states, itself or as flags; else `SHARED` where engines share GPUs, and the
        engine's own where each can have a GPU.
        """
        own = engine_limits(self._kinds(allowed), launch.engine)
        default = SHARED if self._shared else own
        tokens = _flag(launch, "--max-num-batched-tokens", "--chunked-prefill-size")
        sequences = _flag(launch, "--max-num-seqs", "--max-running-requests")
        return replace(
            launch,
            max_num_batched_tokens=launch.max_num_batched_tokens
            or tokens
            or min(own.batched_tokens, default.batched_tokens),
            max_num_seqs=launch.max_num_seqs or sequences or min(own.sequences, default.sequences),
        )

    def _kinds(self, allowed: Sequence[str]) -> list[GPUType]:
        """Return the GPU types of the fleet that the catalogue knows and a model may run on."""
        kinds = [found for t, found in self._types.items() if not allowed or t in allowed]
        return [found for found in kinds if found is not None]

    def filled(self, model: Model, called: str, *, memory: bool, length: bool) -> Model:
        """Return a model with what its file leaves out.

        Parameters
        ----------
        model
            What the file states.
        called
            Its name in the catalogue, if it is there.
        memory
            Whether what a shard takes besides KV cache is left out.
        length
            Whether its least KV memory is left out; then the longest request decides it.
        """
        return replace(
            model, **self.left_out(model, model.launch, called, memory=memory, length=length)
        )

    def left_out(
        self, model: Stated, launch: Launch, called: str, *, memory: bool, length: bool
    ) -> dict[str, Any]:
        """Return fields of a model that its file leaves out, by name; the rest as in `filled`.

        Parameters
        ----------
        model
            What the file states.
        launch
            How it is started.
        """
        listed = called.casefold() in self._listed
        shape = model.architecture
        if shape is None and listed:
            shape = known_shape(called, model.weights_bytes)
        found: dict[str, Any] = {"architecture": shape}
        known = known_model(called) if listed else None
        if length and model.max_model_len is None:
            found["max_model_len"] = _longest_request(known, model.demand, launch)
        if memory:
            if shape is not None:
                launch = self.launch(launch, model.gpu_types or ())
            found["launch"] = launch
            found["resident"] = self._resident(model, known, shape, launch)
        return found

    def listed_among(self, names: Sequence[str]) -> list[int]:
        """Return the positions of names that are in the catalogue."""
        folded = list(map(str.casefold, names))
        if self._listed.isdisjoint(folded):
            return []
        return [at for at, name in enumerate(folded) if name in self._listed]

    @cached_property
    def _listed(self) -> frozenset[str]:
        """Names of the catalogue, folded: a name that is not there need not be looked for."""
        return frozenset(
            name.casefold() for names in (known_names(), known_models()) for name in names
        )

    def _resident(
        self, model: Stated, known: KnownModel | None, shape: Architecture | None, launch: Launch
    ) -> tuple[tuple[int, int], ...]:
        """Return what one shard takes besides KV cache at each degree; nothing for the default.

        Parameters
        ----------
        model
            What the file states.
        known
            What the catalogue says of it, if it is there.
        shape
            Its shape, where it is known.
        launch
            How it is started: it tells the limits of a step, and the image the release.
        """
        size, degrees = model.weights_bytes, model.tensor_parallel
        if shape is None:
            return self._unknown(size, degrees)
        limits = EngineLimits(launch.max_num_batched_tokens, launch.max_num_seqs)
        linked = any(gpu.link_gb_per_second for gpu in self._kinds(model.gpu_types or ()))
        release = _release(launch)
        found = []
        for degree in degrees:
            beside = overhead(
                shape, degree, limits, linked=linked, engine=launch.engine, release=release
            )
            loaded = loaded_weights(size, shape, degree).total_bytes
            measured = _measured(known, size) if degree == 1 else None
            found.append((degree, (measured or loaded) + beside.total))
        return tuple(found)

    def _unknown(self, weights_bytes: int, degrees: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Return the estimate from the weights alone."""
        parts = {degree: -(-weights_bytes // degree) for degree in degrees}
        if all(overhead_of_unknown(part) == DEFAULT_OVERHEAD_BYTES for part in parts.values()):
            return ()
        return tuple((degree, part + overhead_of_unknown(part)) for degree, part in parts.items())


def with_degree(model: Model, degree: int) -> Model:
    """Return a model that may run at one degree more.

    What its shards take besides KV cache is estimated there from the weights alone, where it is so
    at its other degrees: half of a large model does not keep the overhead of the whole.
    """
    changed = replace(model, tensor_parallel=(*model.tensor_parallel, degree))
    parts = [(known, -(-model.weights_bytes // known)) for known, _ in model.resident]
    if not parts or model.resident != tuple((d, p + overhead_of_unknown(p)) for d, p in parts):
        return changed
    part = -(-model.weights_bytes // degree)
    resident = sorted({**dict(model.resident), degree: part + overhead_of_unknown(part)}.items())
    return replace(changed, resident=tuple(resident))


def _longest_request(known: KnownModel | None, demand: _Asked, launch: Launch) -> int | None:
    """Return the tokens of the longest request that a model is to serve.

    That which the engine's flags state; else four times the mean request, rounded up to 1,024,
    and no more than the model's context. None where the demand gives no token counts.
    """
    stated = _flag(launch, "--max-model-len", "--context-length")
    if stated:
        return stated
    mean = (demand.prompt_tokens or 0) + (demand.output_tokens or 0)
    if not mean or demand.output_tokens is None:
        return None
    tokens = typical_longest(mean)
    if known is not None and known.context_tokens:
        return max(min(tokens, known.context_tokens), math.ceil(mean))
    return tokens


def typical_longest(mean_tokens: float) -> int:
    """Return the tokens of the longest of requests with so many on average, rounded up."""
    return math.ceil(_TIMES_MEAN * mean_tokens / _STEP) * _STEP


def _flag(launch: Launch, *names: str) -> int:
    """Return the whole number that one of some flags is given; 0 where none is."""
    words = [part for word in launch.args for part in word.split("=", 1)]
    for flag, value in pairwise(words):
        if flag in names and value.isascii() and value.isdecimal():
            return int(value)
    return 0


def _release(launch: Launch) -> tuple[int, int] | None:
    """Return major and minor number of the engine that an image's tag names."""
    if launch.engine != "vllm" or ":" not in launch.image:
        return None
    match = _RELEASE.match(launch.image.rpartition(":")[2])
    return (int(match[1]), int(match[2])) if match else None


def _measured(known: KnownModel | None, weights_bytes: int) -> int | None:
    """Return the weights as a report measured them, where the file's are the catalogue's."""
    if known is None or known.loaded_bytes is None:
        return None
    near = abs(weights_bytes / known.weights_bytes - 1) < 0.01
    return known.loaded_bytes if near else None
