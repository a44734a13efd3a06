"""How engines run: what a forecast and a simulation assume and no plan decides."""

from dataclasses import dataclass
from enum import StrEnum

from kvplace.errors import InputError


class Sharing(StrEnum):
    """How the engines on one GPU share its time.

    ``slice``
        Time slices, the default of drivers: k steps at once run at 1/k of their speed, less what
        switching takes.
    ``mps``
        Side by side, until what they keep busy sums to more than the GPU; steps that compute go
        before steps that read memory.
    ``none``
        Without any contention, as if each engine had a GPU of its own.
    """

    SLICE = "slice"
    MPS = "mps"
    NONE = "none"


class Router(StrEnum):
    """How requests of a model are divided over its copies.

    ``least-loaded``
        To the copy with the fewest requests, running and waiting.
    ``round-robin``
        In turn, in proportion to the parts that the plan gives the copies.
    ``prefix-sticky``
        Prompts with the same beginning to the same copy; others in turn.
    """

    LEAST_LOADED = "least-loaded"
    ROUND_ROBIN = "round-robin"
    PREFIX_STICKY = "prefix-sticky"


class Pool(StrEnum):
    """How the KV memory of a GPU is divided.

    ``elastic``
        One pool for all engines on the GPU, first come, first served.
    ``static``
        A fixed part for each engine, as most runtimes have it, in proportion to loads.
    """

    ELASTIC = "elastic"
    STATIC = "static"


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings of engines and of what surrounds them.

    Parameters
    ----------
    sharing, router, pool
        See the enumerations.
    max_sequences
        Most requests that an engine runs at a time.
    batched_tokens
        Most tokens of one step; longer prompts are computed in chunks.
    block_tokens
        Tokens of a KV block.
    slice_loss
        Part of a GPU's time that is lost while several engines have a step in time slices. The
        speeds of steps side by side add up to 0.90 to 0.95 of one alone on two H100 and an H200,
        0.91 on average over the 23 cases of `benchmarks/gpu_check.py` in which two to six engines
        always have a step.
    host_seconds, host_seconds_per_sequence
        What the host does before each step while the GPU is free: about 0.5 to 2 ms and 20 to
        80 us in vLLM.
    """

    sharing: Sharing = Sharing.SLICE
    router: Router = Router.LEAST_LOADED
    pool: Pool = Pool.ELASTIC
    max_sequences: int = 256
    batched_tokens: int = 2048
    block_tokens: int = 16
    host_seconds: float = 1e-3
    host_seconds_per_sequence: float = 40e-6
    slice_loss: float = 0.09

    def __post_init__(self) -> None:
        for kind, name in ((Sharing, "sharing"), (Router, "router"), (Pool, "pool")):
            object.__setattr__(self, name, kind(getattr(self, name)))
        if min(self.max_sequences, self.batched_tokens, self.block_tokens) < 1:
            raise InputError("an engine needs room for a sequence, a token and a block of one")
        if not (self.host_seconds >= 0 and self.host_seconds_per_sequence >= 0):
            raise InputError("host seconds must be at least 0")
        if not 0 <= self.slice_loss < 1:
            raise InputError(f"a slice loss is from 0 to below 1, not {self.slice_loss}")
        object.__setattr__(self, "slice_loss", float(self.slice_loss))  # kernels know floats alone
