"""Command lines of the engines: the same arguments whatever starts them."""

import math
from collections.abc import Sequence

from kvplace.export.layout import Engine

STATIC, KVCACHED = "static", "kvcached"
"""How the engines of a GPU share its KV memory: fixed parts, or one elastic pool."""
_DIGITS = 10_000
_MOST = 0.95  # a process never gets all of a GPU: its context comes first


def command(
    engine: Engine, host: str, pool: str = STATIC, before: Sequence[Engine] = (), port: str = ""
) -> list[str]:
    """Return the words that start an engine.

    Parameters
    ----------
    engine
        What to start.
    host
        Address to listen on.
    pool
        `STATIC` or `KVCACHED`.
    before
        Engines that run on its GPUs already when it starts.
    port
        Word for the port; its own where not given.
    """
    if engine.model.launch.engine == "sglang":
        start = ["python3", "-m", "sglang.launch_server", f"--model-path={engine.source}"]
    else:
        start = ["vllm", "serve", engine.source]
    memory = memory_arguments(engine, before) if pool == STATIC else []
    return [*start, *arguments(engine, host, port), *memory, *engine.model.launch.args]


def arguments(engine: Engine, host: str, port: str = "") -> list[str]:
    """Return what an engine is called, where it listens and how it is split."""
    words = [f"--served-model-name={engine.served_name}"]
    words += [f"--host={host}", f"--port={port or engine.port}"]
    if engine.degree > 1:
        flag = "--tp-size" if engine.model.launch.engine == "sglang" else "--tensor-parallel-size"
        words.append(f"{flag}={engine.degree}")
    return words + limits(engine)


_LIMITS = {
    # What the plan assumed: the flag of each engine, and other spellings that state it already.
    "max_model_len": ("--max-model-len", "--context-length"),
    "max_num_batched_tokens": ("--max-num-batched-tokens", "--chunked-prefill-size"),
    "max_num_seqs": ("--max-num-seqs", "--max-running-requests"),
}


def limits(engine: Engine) -> list[str]:
    """Return the limits that the plan assumed, exactly; none that the model's own flags state."""
    model = engine.model
    assumed = {
        "max_model_len": model.max_model_len,
        "max_num_batched_tokens": model.launch.max_num_batched_tokens,
        "max_num_seqs": model.launch.max_num_seqs,
    }
    stated = {word.partition("=")[0] for word in model.launch.args}
    at = 1 if model.launch.engine == "sglang" else 0
    return [
        f"{_LIMITS[name][at]}={value}"
        for name, value in assumed.items()
        if value and not stated & set(_LIMITS[name])
    ]


def memory_arguments(engine: Engine, before: Sequence[Engine] = ()) -> list[str]:
    """Return what keeps an engine within its part of each of its GPUs.

    vLLM takes bytes per GPU; its share of the memory is then only compared with what is free when
    it starts, after its own context. SGLang takes tokens where it is known what one needs, and a
    share of what is free when it starts for weights and cache together.
    """
    weights = min(engine.footprint_bytes, -(-engine.model.weights_bytes // engine.degree))
    part = weights + engine.kv_bytes
    if engine.model.launch.engine != "sglang":
        share = _share(part, engine.memory_bytes)
        return [f"--kv-cache-memory-bytes={engine.kv_bytes}", f"--gpu-memory-utilization={share}"]
    taken = max(
        (
            sum(o.footprint_bytes + o.kv_bytes for o in before if gpu in o.gpus)
            for gpu in engine.gpus
        ),
        default=0,
    )
    words = [f"--mem-fraction-static={_share(part, engine.memory_bytes - taken)}"]
    per_token = engine.model.kv_bytes_per_token
    if per_token:
        held = per_token * engine.model.kv_part(engine.degree)  # of a token, on each rank
        words.append(f"--max-total-tokens={max(1, int(engine.kv_bytes / held))}")
    return words


def environment(engine: Engine, pool: str = STATIC) -> dict[str, str]:
    """Return the variables that are written: the model's own, and those of the shared pool."""
    given = dict(engine.model.launch.env)
    return given if pool == STATIC else given | pool_environment(engine)


def pool_environment(engine: Engine) -> dict[str, str]:
    """Return the variables that join an engine to the elastic pool of its GPUs.

    Each process has a name of its own for the memory it shares with the controller: two that
    share a name would overwrite each other's accounts.
    """
    return {
        "ENABLE_KVCACHED": "true",
        "KVCACHED_AUTOPATCH": "1",
        "KVCACHED_IPC_NAME": f"kvplace_{engine.label.replace('-', '_')}",
    }


def _share(part: int, whole: int) -> str:
    """Return a share of memory, rounded down so that parts never add up to more than the whole."""
    share = math.floor(_DIGITS * part / whole) / _DIGITS if whole > 0 else 0.0
    return f"{min(max(share, 1 / _DIGITS), _MOST):.4f}"
