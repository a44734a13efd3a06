"""The KV pool of a GPU: blocks are taken by whoever comes first, and given back whole."""

from kvplace.simulate.state import World
from kvplace.solver.kernels import kernel


@kernel
def _lacking(w: World, e: int, r: int, tokens: int) -> int:
    """Return the bytes on each GPU that a request lacks for so many tokens."""
    engine, request = w.engines[e], w.requests[r]
    blocks = (tokens + engine.block_tokens - 1) // engine.block_tokens
    more = blocks - request.blocks
    if more <= 0:
        return 0
    # A layer with a window gives a block back for each that it takes, once the window is full.
    kept = min(blocks, engine.window_blocks) - min(request.blocks, engine.window_blocks)
    size: int = more * engine.block_bytes + kept * engine.window_block_bytes
    return size if request.blocks else size + engine.fixed_bytes


@kernel
def _free_for(w: World, e: int, size: int) -> bool:
    """Return whether so many bytes are free for an engine on each of its GPUs."""
    engine = w.engines[e]
    if engine.held + size > engine.limit:
        return False
    for at in range(engine.first_gpu, engine.end_gpu):
        gpu = w.gpus[w.lists[at]]
        if gpu.used + size > gpu.limit:
            return False
    return True


@kernel
def fits(w: World, e: int, r: int, tokens: int) -> bool:
    """Return whether a request could be given the blocks for so many tokens."""
    return bool(_free_for(w, e, _lacking(w, e, r, tokens)))


@kernel
def take(w: World, e: int, r: int, tokens: int, now: float) -> bool:
    """Give a request the blocks for so many tokens; False, and nothing taken, if they don't fit."""
    size = _lacking(w, e, r, tokens)
    if size == 0:
        return True
    if not _free_for(w, e, size):
        return False
    _change(w, e, size, now)
    block_tokens = w.engines[e].block_tokens
    w.requests[r].blocks = (tokens + block_tokens - 1) // block_tokens
    return True


@kernel
def free(w: World, e: int, r: int, now: float) -> None:
    """Give back all that a request holds."""
    engine, request = w.engines[e], w.requests[r]
    if request.blocks > 0:
        kept = min(request.blocks, engine.window_blocks) * engine.window_block_bytes
        _change(w, e, -(request.blocks * engine.block_bytes + kept + engine.fixed_bytes), now)
        request.blocks = 0


@kernel
def _change(w: World, e: int, size: int, now: float) -> None:
    """Add bytes to what an engine holds on each of its GPUs."""
    engine = w.engines[e]
    engine.held += size
    for at in range(engine.first_gpu, engine.end_gpu):
        gpu = w.gpus[w.lists[at]]
        gpu.used_seconds += gpu.used * (now - gpu.used_since)
        gpu.used_since = now
        gpu.used += size
        gpu.peak = max(gpu.peak, gpu.used)
