"""What engines print when they start: weights loaded, memory left for KV, graphs captured.

The lines of vLLM (0.6 and later, on a CPU too) and SGLang (0.4 and later) are known. Each rank of
a copy prints its own; the rank that has least left counts.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from kvplace.units import GIB

_NUMBER = r"(-?[0-9]+(?:\.[0-9]+)?)"
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        # vLLM
        ("weights", rf"Model loading took {_NUMBER} (?:GiB|GB)"),
        ("weights", rf"Loading model weights took {_NUMBER} (?:GiB|GB)"),
        ("weights", rf"model weights take {_NUMBER} ?GiB"),
        ("kv", rf"Available KV cache memory: {_NUMBER} GiB"),
        ("kv", rf"reserved for KV Cache is {_NUMBER} ?GiB"),
        ("kv_tokens", r"[A-Z]+ KV cache size: ([0-9,]+) tokens"),
        # vLLM on a CPU: of the memory of the node, for cache; and what else its process holds.
        ("kv", rf"(?:Explicitly|Auto) set \({_NUMBER}/[0-9.]+\) GiB for KV cache"),
        ("node", r"GiB for KV cache on node ([0-9]+)"),
        ("process", rf"{_NUMBER} GiB memory was consumed by non-kv usages"),
        ("graphs", rf"Graph capturing finished in .*, took {_NUMBER} GiB"),
        ("graphs_profiled", rf"Estimated CUDA graph memory: {_NUMBER} GiB total"),
        ("total", rf"total_gpu_memory \({_NUMBER} ?GiB\)"),
        ("total", rf"total_memory={_NUMBER} ?GiB"),
        ("utilization", rf"gpu_memory_utilization \({_NUMBER}\)"),
        ("utilization", rf"'gpu_memory_utilization': {_NUMBER}"),
        ("utilization", rf"--gpu-memory-utilization[= ]{_NUMBER}"),
        ("non_kv", rf"Total non KV cache memory: {_NUMBER} ?GiB"),
        ("peak", rf"torch peak memory increase: {_NUMBER} ?GiB"),
        ("peak", rf"PyTorch activation peak memory takes {_NUMBER} ?GiB"),
        ("libraries", rf"non-torch forward increase memory: {_NUMBER} ?GiB"),
        ("libraries", rf"non_torch_memory takes {_NUMBER} ?GiB"),
        ("needed", rf"\({_NUMBER} GiB KV cache is needed"),
        # SGLang, which writes GB for GiB
        ("weights", rf"Load weight end\..*mem usage={_NUMBER} GB"),
        ("free_before", rf"Load weight begin\. avail mem={_NUMBER} GB"),
        ("key", rf"KV Cache is allocated\..*K size: {_NUMBER} GB"),
        ("value", rf"KV Cache is allocated\..*V size: {_NUMBER} GB"),
        ("latent", rf"KV Cache is allocated\..*KV size: {_NUMBER} GB"),
        ("kv_tokens", r"KV Cache is allocated\..*#tokens: ([0-9,]+)"),
        ("graphs", rf"Capture cuda graph end\..*mem usage={_NUMBER} GB"),
        ("free_after", rf"Capture cuda graph end\..*avail mem={_NUMBER} GB"),
    )
)
_TEXTS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("release", r"LLM engine \(v([0-9][0-9.]*[0-9])"),
        ("release", r"(?:API server )?version:? v?([0-9]+\.[0-9]+\.[0-9]+)"),
        ("model", r"with config: model='([^']+)'"),
        ("model", r"non-default args: \{(?:[^{}]*, )?'model(?:_tag)?': '([^']+)'"),
        ("model", r"Starting to load model ([^\s]+?)(?:\.\.\.)?$"),
        ("model", r"model_path='([^']+)'"),
        ("degree", r"tensor_parallel_size=([0-9]+)"),
        ("degree", r"'tensor_parallel_size': ([0-9]+)"),
        ("degree", r"\btp_size=([0-9]+)"),
        ("length", r"max_seq_len=([0-9]+)"),
        ("batched", r"max_num_batched_tokens=([0-9]+)"),
    )
)
_CONTEXT_GIB = 0.51
"""A CUDA context, which vLLM leaves out of what it counts (its first memory snapshot on H100)."""
_UTILIZATION = 0.9
_LONGEST = 20_000


@dataclass(frozen=True, slots=True)
class StartLog:
    """What one engine printed when it started; None where it did not print it.

    Parameters
    ----------
    source
        Name of the log.
    engine
        ``vllm`` or ``sglang``.
    release
        Version of the engine.
    model
        What it serves.
    degree
        Tensor-parallel degree.
    figures
        GiB by name, of the rank that has least left.
    kv_tokens
        Tokens that its cache holds.
    """

    source: str
    engine: str
    release: str
    model: str
    degree: int
    figures: dict[str, float] = field(default_factory=dict)
    kv_tokens: int | None = None

    @property
    def weights_bytes(self) -> int | None:
        """Weights as loaded on one rank."""
        return _bytes(self.figures.get("weights"))

    @property
    def kv_bytes(self) -> int | None:
        """Memory for KV cache on one rank."""
        return _bytes(self.figures.get("kv"))

    @property
    def on_cpu(self) -> bool:
        """Whether the engine runs on a CPU."""
        return "node" in self.figures

    def resident_bytes(self, memory_bytes: int | None = None) -> int | None:
        """Return what one rank takes besides KV cache; None where the log does not tell.

        Parameters
        ----------
        memory_bytes
            Memory of the GPU, where the log does not tell it.
        """
        told = self.figures
        if self.on_cpu:  # all that the process holds, where it is told; there is no CUDA context
            return _bytes(told.get("process"))
        if self.engine == "sglang":
            return _bytes(_sglang_resident(told, memory_bytes))
        resident = told.get("non_kv")
        if resident is None and {"weights", "peak"} <= told.keys():
            resident = told["weights"] + told["peak"] + told.get("libraries", 0.0)
        total = told.get("total", memory_bytes / GIB if memory_bytes else None)
        if resident is None and total is not None and "kv" in told:
            resident = total * told.get("utilization", _UTILIZATION) - told["kv"]
            resident -= told.get("graphs_profiled", 0.0)
        if resident is None:
            return None
        graphs = told.get("graphs", told.get("graphs_profiled", 0.0))
        return _bytes(resident + graphs + _CONTEXT_GIB)


def read_start_log(lines: Iterable[str], source: str) -> StartLog | None:
    """Return what a log tells of an engine's start, or None where no line of it is known.

    Parameters
    ----------
    lines
        The log.
    source
        Its name.
    """
    figures: dict[str, list[float]] = {}
    texts: dict[str, str] = {}
    engine = "vllm"
    for line in lines:
        text = line[:_LONGEST].rstrip()
        for name, pattern in _PATTERNS:
            found = pattern.search(text)
            if found:
                figures.setdefault(name, []).append(float(found[1].replace(",", "")))
                if name in ("key", "latent", "free_before", "free_after"):
                    engine = "sglang"
        for name, pattern in _TEXTS:
            match = pattern.search(text)
            if match:
                texts.setdefault(name, match[1])
    if not figures.keys() & {"weights", "kv", "key", "latent"}:
        return None
    least = {"kv", "kv_tokens", "free_after", "free_before", "total"}
    chosen = {name: (min if name in least else max)(seen) for name, seen in figures.items()}
    tokens = chosen.pop("kv_tokens", None)
    pool = chosen.get("latent", chosen.get("key", 0.0) + chosen.get("value", 0.0))
    if engine == "sglang":
        chosen["kv"] = pool
    return StartLog(
        source=source,
        engine=engine,
        release=texts.get("release", ""),
        model=texts.get("model", ""),
        degree=int(texts.get("degree", "1")),
        figures=chosen,
        kv_tokens=None if tokens is None else int(tokens),
    )


def _sglang_resident(told: dict[str, float], memory_bytes: int | None) -> float | None:
    """Return what SGLang takes besides its pool: all but the pool and what is free at the end."""
    free = told.get("free_after")
    total = memory_bytes / GIB if memory_bytes else None
    if total is None and "free_before" in told:
        total = told["free_before"] + _CONTEXT_GIB
    if free is None or total is None:
        parts = told.get("weights"), told.get("graphs", 0.0)
        return None if parts[0] is None else parts[0] + (parts[1] or 0.0) + _CONTEXT_GIB
    return total - told["kv"] - free


def _bytes(gib: float | None) -> int | None:
    return None if gib is None else round(gib * GIB)
