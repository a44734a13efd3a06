"""How do processes share one GPU? Measured on a bare GPU, held against three sharing laws.

    python benchmarks/gpu_check.py --output gpu_check.json          # a GPU, at most 8 minutes
    python benchmarks/gpu_check.py --small --output gpu_check.json  # the CPU, about half a minute

Needs PyTorch and nothing else. Each process holds a decoder with random weights (an 8B and a 3B
Llama shape) and replays its steps as CUDA graphs, as an engine does. The script measures

1. the memory that a process takes before and after its first product, besides its tensors,
2. the time of each step alone,
3. two and three processes at once: decode beside decode, decode beside prefill, at several duty
   cycles,
4. three processes that answer Poisson requests with continuous batching,
5. two to six processes that decode all the time,

3 and 4 first with plain processes (the driver slices time), then under MPS where its daemon starts
without a change of settings, and 5 with plain processes. Each case of 3 is computed under three
laws from the times alone:

``equal slices``  k active processes get 1/k of the GPU each;
``side by side``  steps run together until their shares of memory bandwidth or of compute sum to
                  more than one, and slow down by that sum;
``one at a time`` a step runs to its end before another process's step starts.

The law with the smallest median error holds. The result is one JSON file, written anew after each
part, so that a run that is cut short leaves what it had.
"""

import argparse
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LAWS = ("equal slices", "side by side", "one at a time")
SHAPES = {
    "8B": {"layers": 32, "hidden": 4096, "ffn": 14336, "heads": 32, "kv": 8, "vocab": 128256},
    "3B": {"layers": 28, "hidden": 3072, "ffn": 8192, "heads": 24, "kv": 8, "vocab": 128256},
}
SMALL_SHAPES = {
    "8B": {"layers": 4, "hidden": 512, "ffn": 1536, "heads": 8, "kv": 2, "vocab": 4096},
    "3B": {"layers": 3, "hidden": 384, "ffn": 1024, "heads": 6, "kv": 2, "vocab": 4096},
}
BATCHES = (1, 2, 4, 8, 16, 32)
PROMPTS = (512, 2048)
CONTEXT = 1024
SMALL_PROMPTS = (32, 128)
SMALL_CONTEXT = 64


# --- one process with a model ------------------------------------------------------------------


class Decoder:
    """A decoder with random weights whose steps can be run again and again."""

    def __init__(self, shape, device, prompts, context):
        import torch

        self.torch, self.device, self.shape = torch, device, shape
        self.dtype = torch.bfloat16 if device == "cuda" else torch.float32
        h, ffn, heads, kv = shape["hidden"], shape["ffn"], shape["heads"], shape["kv"]
        self.dim = h // heads
        wide = (heads + 2 * kv) * self.dim
        self.layers = [
            {
                "qkv": self._weights(h, wide),
                "out": self._weights(heads * self.dim, h),
                "up": self._weights(h, 2 * ffn),
                "down": self._weights(ffn, h),
                "keys": self._weights(BATCHES[-1], kv, context, self.dim),
                "values": self._weights(BATCHES[-1], kv, context, self.dim),
            }
            for _ in range(shape["layers"])
        ]
        self.embedding = self._weights(shape["vocab"], h)
        self.head = self._weights(h, shape["vocab"])
        per_layer = h * wide + heads * self.dim * h + 3 * h * ffn
        size = self.head.element_size()
        self.weights_bytes = (shape["layers"] * per_layer + h * shape["vocab"]) * size
        self.kv_bytes_per_token = 2 * shape["layers"] * kv * self.dim * size
        self.parameters = shape["layers"] * per_layer
        self.context = context
        self.steps = {}
        with torch.inference_mode():
            for batch in BATCHES:
                self.steps["decode", batch] = self._captured(self._decode, batch)
            for prompt in prompts:
                self.steps["prefill", prompt] = self._captured(self._prefill, prompt)

    def _weights(self, *sizes):
        made = self.torch.empty(sizes, dtype=self.dtype, device=self.device)
        return made.normal_(0, 0.02)

    def _captured(self, step, size):
        """Return a function that runs the step once and waits for its end."""
        torch = self.torch
        tokens = torch.zeros(size, dtype=torch.long, device=self.device)
        if self.device != "cuda":
            return lambda: step(tokens)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                step(tokens)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kept = step(tokens)

        def replay():
            graph.replay()
            torch.cuda.synchronize()
            return kept  # the graph writes there: it must stay

        return replay

    def _norm(self, x):
        scale = x.float().pow(2).mean(-1, keepdim=True).add(1e-5).rsqrt()
        return x * scale.to(x.dtype)

    def _layer(self, x, layer, attend):
        heads, kv, dim = self.shape["heads"], self.shape["kv"], self.dim
        mixed = self._norm(x) @ layer["qkv"]
        q, k, v = mixed.split([heads * dim, kv * dim, kv * dim], dim=-1)
        x = x + attend(q, k, v, layer) @ layer["out"]
        gate, up = (self._norm(x) @ layer["up"]).chunk(2, dim=-1)
        return x + (self.torch.nn.functional.silu(gate) * up) @ layer["down"]

    def _decode(self, tokens):
        batch, heads, kv, dim = len(tokens), self.shape["heads"], self.shape["kv"], self.dim
        attention = self.torch.nn.functional.scaled_dot_product_attention

        def attend(q, k, v, layer):
            layer["keys"][:batch, :, -1] = k.view(batch, kv, dim)
            layer["values"][:batch, :, -1] = v.view(batch, kv, dim)
            # The query heads of one KV head stand in a row: none of them is masked.
            grouped = q.view(batch, kv, heads // kv, dim)
            found = attention(grouped, layer["keys"][:batch], layer["values"][:batch])
            return found.reshape(batch, heads * dim)

        x = self.embedding[tokens]
        for layer in self.layers:
            x = self._layer(x, layer, attend)
        return (self._norm(x) @ self.head).argmax(-1)

    def _prefill(self, tokens):
        size, heads, kv, dim = len(tokens), self.shape["heads"], self.shape["kv"], self.dim
        attention = self.torch.nn.functional.scaled_dot_product_attention

        def attend(q, k, v, _layer):
            q = q.view(size, heads, dim).transpose(0, 1)[None]
            k = k.view(size, kv, dim).transpose(0, 1).repeat_interleave(heads // kv, 0)[None]
            v = v.view(size, kv, dim).transpose(0, 1).repeat_interleave(heads // kv, 0)[None]
            return attention(q, k, v, is_causal=True)[0].transpose(0, 1).reshape(size, heads * dim)

        x = self.embedding[tokens]
        for layer in self.layers:
            x = self._layer(x, layer, attend)
        return (self._norm(x[-1:]) @ self.head).argmax(-1)

    def moved(self, kind, size):
        """Return the bytes and the floating-point operations of a step."""
        if kind == "decode":
            kv = size * self.context * self.kv_bytes_per_token
            return self.weights_bytes + kv, 2 * size * self.parameters
        attention = 2 * self.shape["layers"] * self.shape["hidden"] * size * size
        return self.weights_bytes, 2 * size * self.parameters + attention


class Requests:
    """Continuous batching: who is in the next step. The same code runs real and computed steps."""

    def __init__(self, arrivals, outputs):
        self.arrivals, self.outputs = arrivals, outputs
        self.next, self.running = 0, []
        self.first, self.last = [math.nan] * len(arrivals), [math.nan] * len(arrivals)

    def step(self, now):
        """Return what to run now: a prompt, a batch, or None until the next arrival."""
        full = len(self.running) == BATCHES[-1]
        if self.next < len(self.arrivals) and self.arrivals[self.next] <= now and not full:
            return "prefill", 1
        if self.running:
            return "decode", next(b for b in BATCHES if b >= len(self.running))
        return None

    def ended(self, kind, now):
        """Note that the step is over."""
        if kind == "prefill":
            self.first[self.next] = self.last[self.next] = now
            self.running.append([self.next, self.outputs[self.next] - 1])
            self.next += 1
        else:
            for one in self.running:
                one[1] -= 1
                self.last[one[0]] = now
        self.running = [one for one in self.running if one[1] > 0]

    def latencies(self):
        """Return TTFT and time per output token of the requests that were answered whole."""
        left = {index for index, _ in self.running} | set(range(self.next, len(self.arrivals)))
        done = [i for i in range(len(self.arrivals)) if i not in left]
        return {
            "ttft": [self.first[i] - self.arrivals[i] for i in done],
            "tpot": [(self.last[i] - self.first[i]) / max(1, self.outputs[i] - 1) for i in done],
        }


def peaks(device):
    """Measure the memory bandwidth of a copy and the speed of a large product."""
    import torch

    size = 1 << (30 if device == "cuda" else 25)
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    side, dtype = (8192, torch.bfloat16) if device == "cuda" else (512, torch.float32)
    a = torch.zeros(side, side, dtype=dtype, device=device)
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)

    def best(work):
        times = []
        for _ in range(5):
            wait()
            start = time.perf_counter()
            work()
            wait()
            times.append(time.perf_counter() - start)
        return min(times)

    return {
        "bytes_per_second": 2 * size / best(lambda: target.copy_(source)),
        "flops": 2 * side**3 / best(lambda: a @ a),
    }


def measure_process_memory():
    """Measure the bytes that one process more takes of a GPU, besides its tensors.

    Returns
    -------
    dict
        ``context``: taken by a process that has done nothing. ``libraries``: what that grows by
        in a product and an attention. ``total``: all of the GPU.
    """
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--worker", json.dumps({"memory": True})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]

    def ask(process):
        process.stdin.write("\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    try:
        first, second = (ask(process) for process in started)
        after = ask(started[1])
    finally:
        for process in started:
            process.stdin.close()
            process.wait(timeout=20)
    return {
        "total": first["total"],
        "context": second["taken"] - first["taken"],
        "libraries": after["taken"] - after["tensors"] - second["taken"],
    }


def tell_memory():
    """Answer two lines with the bytes taken of the GPU: with a bare context, and after work."""
    import torch

    def answer_taken():
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info()
        held = torch.cuda.memory_reserved()
        answer({"total": total, "taken": total - free, "tensors": held})

    sys.stdin.readline()
    answer_taken()
    if not sys.stdin.readline():
        return
    a = torch.ones(1, 8, 4096, 128, dtype=torch.bfloat16, device="cuda")
    torch.nn.functional.scaled_dot_product_attention(a @ a[0, 0].T @ a, a, a)
    answer_taken()


def worker(options):
    """Build a model, then obey one JSON line after the other."""
    if "memory" in options:
        tell_memory()
        return
    import torch

    small = options["small"]
    if options["device"] == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = (SMALL_SHAPES if small else SHAPES)[options["shape"]]
    prompts = SMALL_PROMPTS if small else PROMPTS
    decoder = Decoder(shape, options["device"], prompts, SMALL_CONTEXT if small else CONTEXT)
    moved = {f"{k} {n}": decoder.moved(k, n) for k, n in decoder.steps}
    answer({"ready": True, "moved": moved, "weights_bytes": decoder.weights_bytes})
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "peaks":
            answer(peaks(options["device"]))
        elif order["do"] == "loop":
            answer(loop(decoder, order))
        elif order["do"] == "serve":
            answer(serve(decoder, order, prompts[0]))


def loop(decoder, order):
    """Run one step over and over, idle between steps as the duty cycle asks; return the times."""
    step = decoder.steps[order["kind"], order["size"]]
    pause = order["alone"] * (1 / order["duty"] - 1) if order["duty"] < 1 else 0.0
    step()
    wait_until(order["start"])
    times, end = [], order["start"] + order["seconds"]
    while (begin := time.monotonic()) < end:
        step()
        times.append(time.monotonic() - begin)
        if pause:
            time.sleep(pause)
    kept = times[len(times) // 10 :] or times
    return {"mean": statistics.fmean(kept), "median": statistics.median(kept), "steps": len(times)}


def serve(decoder, order, prompt):
    """Answer requests in real time."""
    start = order["start"]
    requests = Requests(order["arrivals"], order["outputs"])
    wait_until(start)
    while (now := time.monotonic() - start) < order["seconds"]:
        todo = requests.step(now)
        if todo is None:
            if requests.next >= len(requests.arrivals):
                break
            wait_until(start + min(requests.arrivals[requests.next], order["seconds"]))
            continue
        kind, size = todo
        decoder.steps[kind, prompt if kind == "prefill" else size]()
        requests.ended(kind, time.monotonic() - start)
    return requests.latencies()


def wait_until(moment):
    """Sleep until a moment of the clock that all processes share."""
    while (left := moment - time.monotonic()) > 0:
        time.sleep(left)


def answer(value):
    """Write one line to the process that gives the orders."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


# --- the laws ----------------------------------------------------------------------------------


def rates(law, active, order, demand):
    """Return the speed of each active engine, 1.0 alone.

    Parameters
    ----------
    law
        One of `LAWS`.
    active
        Engines with a step on the GPU.
    order
        When the step of each came to the GPU.
    demand
        For each, shares of memory bandwidth and of compute that its step takes alone.
    """
    if law == "equal slices":
        return dict.fromkeys(active, 1 / len(active))
    if law == "side by side":
        slow = max(1.0, *(sum(demand[e][r] for e in active) for r in (0, 1)))
        return dict.fromkeys(active, 1 / slow)
    first = min(active, key=lambda e: (order[e], e))
    return {e: 1.0 if e == first else 0.0 for e in active}


def simulate(law, engines, seconds):
    """Run engines on one GPU under a law.

    Parameters
    ----------
    engines
        Each with `begin(now)`, which returns ``(work seconds, (memory, compute))`` or the moment
        to ask again, and `end(now)`.
    """
    n = len(engines)
    work, came, demand, ask = {}, {}, {}, dict.fromkeys(range(n), 0.0)
    now = 0.0
    while now < seconds:
        for e in [e for e, at in ask.items() if at <= now]:
            found = engines[e].begin(now)
            if isinstance(found, tuple):
                work[e], demand[e] = found
                came[e] = now
                del ask[e]
            else:
                ask[e] = max(found, now + 1e-9)
        speed = rates(law, list(work), came, demand) if work else {}
        ends = [now + work[e] / v for e, v in speed.items() if v > 0]
        then = min([*ends, *ask.values(), seconds])
        for e, v in speed.items():
            work[e] -= v * (then - now)
        now = then
        for e in [e for e in work if work[e] <= 1e-12]:
            del work[e]
            engines[e].end(now)
            ask[e] = now


class Looping:
    """An engine that runs one step over and over with a pause between."""

    def __init__(self, alone, demand, duty):
        self.alone, self.demand = alone, demand
        self.pause = alone * (1 / duty - 1)
        self.free, self.times = 0.0, []

    def begin(self, now):
        if now < self.free:
            return self.free
        self.began = now
        return self.alone, self.demand

    def end(self, now):
        self.times.append(now - self.began)
        self.free = now + self.pause


class Serving:
    """An engine that answers requests."""

    def __init__(self, arrivals, outputs, times, demands, prompt):
        self.requests = Requests(arrivals, outputs)
        self.times, self.demands, self.prompt = times, demands, prompt

    def begin(self, now):
        todo = self.requests.step(now)
        if todo is None:
            r = self.requests
            return r.arrivals[r.next] if r.next < len(r.arrivals) else math.inf
        self.kind, size = todo
        name = f"{self.kind} {self.prompt if self.kind == 'prefill' else size}"
        return self.times[name], self.demands[name]

    def end(self, now):
        self.requests.ended(self.kind, now)


# --- the check ---------------------------------------------------------------------------------


class Fleet:
    """The processes of one part of the check."""

    def __init__(self, shapes, options, environment):
        self.shapes = shapes
        self.processes = []
        for shape in shapes:
            given = json.dumps({**options, "shape": shape})
            command = [sys.executable, __file__, "--worker", given]
            self.processes.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, **environment},
                )
            )
        self.about = [self.hear(at) for at in range(len(shapes))]

    def hear(self, at):
        line = self.processes[at].stdout.readline()
        if not line:
            raise RuntimeError(f"process {at} ({self.shapes[at]}) ended before it answered")
        return json.loads(line)

    def ask(self, orders):
        """Give orders to processes by number; return their answers by number."""
        start = time.monotonic() + 0.3
        for at, order in orders.items():
            line = json.dumps({"start": start, **order})
            self.processes[at].stdin.write(line + "\n")
            self.processes[at].stdin.flush()
        return {at: self.hear(at) for at in orders}

    def close(self):
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Check:
    """The measurements, in the order of the time that is left."""

    def __init__(self, args):
        self.args, self.started = args, time.monotonic()
        self.prompts = SMALL_PROMPTS if args.small else PROMPTS
        self.seconds = 0.6 if args.small else 2.5
        self.result = {"schema": "kvplace.gpu_check/v1", "small": args.small, "parts": {}}
        self.alone = {}

    def left(self):
        return self.args.seconds - (time.monotonic() - self.started)

    def save(self):
        self.result["seconds"] = round(time.monotonic() - self.started, 1)
        path = Path(self.args.output)
        rest = path.with_suffix(".part")
        rest.write_text(json.dumps(self.result, indent=1) + "\n")
        rest.replace(path)

    def measure_alone(self, fleet):
        """Time every step with the other processes silent."""
        self.peaks = fleet.ask({0: {"do": "peaks"}})[0]
        self.result["peaks"] = self.peaks
        kinds = [("decode", b) for b in BATCHES] + [("prefill", p) for p in self.prompts]
        rows = []
        for shape in dict.fromkeys(fleet.shapes):
            at = fleet.shapes.index(shape)
            for kind, size in kinds:
                order = {"do": "loop", "kind": kind, "size": size, "duty": 1, "alone": 0}
                found = fleet.ask({at: {**order, "seconds": self.seconds / 2}})[at]
                bytes_, flops = fleet.about[at]["moved"][f"{kind} {size}"]
                t = found["mean"]
                demand = (
                    min(1.0, bytes_ / self.peaks["bytes_per_second"] / t),
                    min(1.0, flops / self.peaks["flops"] / t),
                )
                self.alone[shape, f"{kind} {size}"] = (t, demand)
                rows.append(
                    {
                        "shape": shape,
                        "kind": kind,
                        "size": size,
                        "ms": 1e3 * t,
                        "median_ms": 1e3 * found["median"],
                        "memory_share": demand[0],
                        "compute_share": demand[1],
                        "steps": found["steps"],
                    }
                )
                say(f"  {shape} {kind} {size}: {1e3 * t:.2f} ms")
        self.result["alone"] = rows

    def cases(self):
        """Return the cases: for each process its step, and its duty cycle."""
        big = self.prompts[-1]
        d8, d1 = ("decode", 8, 1.0), ("decode", 1, 1.0)
        return [
            ("decode 8 beside decode 8, 8B and 8B", (d8, d8, None)),
            ("decode 8 beside decode 8, 8B and 3B", (d8, None, d8)),
            ("decode 1 beside decode 32, 8B and 8B", (d1, ("decode", 32, 1.0), None)),
            ("decode beside prefill, all the time", (d8, ("prefill", big, 1.0), None)),
            ("decode beside prefill, half the time", (d8, ("prefill", big, 0.5), None)),
            ("decode beside prefill, a fifth of the time", (d8, ("prefill", big, 0.2), None)),
            ("3B decode beside 8B prefill, half the time", (None, ("prefill", big, 0.5), d8)),
            ("decode beside decode, half the time", (d8, ("decode", 8, 0.5), None)),
            ("three decodes", (d8, d8, d8)),
            ("two decodes and a prefill, a third of the time", (d8, ("prefill", big, 1 / 3), d8)),
        ]

    def measure_together(self, fleet):
        """Time steps beside those of other processes, and compute them under each law."""
        rows = []
        for name, wanted in self.cases():
            if self.left() < 20:
                self.result["cut"] = "time was up before every case was measured"
                break
            at_work = {at: w for at, w in enumerate(wanted) if w is not None}
            alone = {
                at: self.alone[fleet.shapes[at], f"{w[0]} {w[1]}"] for at, w in at_work.items()
            }
            found = fleet.ask(
                {
                    at: {
                        "do": "loop",
                        "kind": w[0],
                        "size": w[1],
                        "duty": w[2],
                        "alone": alone[at][0],
                        "seconds": self.seconds,
                    }
                    for at, w in at_work.items()
                }
            )
            computed = {}
            for law in LAWS:
                engines = [Looping(*alone[at], w[2]) for at, w in at_work.items()]
                # Long enough that where the cycles start does not matter.
                simulate(law, engines, 200 * max(e.alone + e.pause for e in engines))
                computed[law] = [statistics.fmean(e.times) for e in engines]
            for number, (at, w) in enumerate(at_work.items()):
                row = {
                    "case": name,
                    "shape": fleet.shapes[at],
                    "kind": w[0],
                    "size": w[1],
                    "duty": w[2],
                    "alone_ms": 1e3 * alone[at][0],
                    "ms": 1e3 * found[at]["mean"],
                    "median_ms": 1e3 * found[at]["median"],
                    "computed_ms": {law: 1e3 * computed[law][number] for law in LAWS},
                }
                rows.append(row)
                laws = ", ".join(f"{law} {ms:.2f}" for law, ms in row["computed_ms"].items())
                say(
                    f"  {name}: {row['shape']} {w[0]} {w[1]}: {row['ms']:.2f} ms "
                    f"(alone {row['alone_ms']:.2f}; {laws})"
                )
        return rows

    def measure_requests(self, fleet):
        """Answer Poisson requests in every process; compute them under each law."""
        prompt = self.prompts[0]
        rows = []
        for load in (0.5, 0.8):
            seconds = min(6.0 if self.args.small else 30.0, self.left() - 15)
            if seconds < 3:
                self.result["cut"] = "time was up before every load was measured"
                break
            orders = {}
            for at, shape in enumerate(fleet.shapes):
                output = 16 if self.args.small else 128
                # A third of the GPU each at load 1, as batches of about four would use it.
                once = (
                    self.alone[shape, f"prefill {prompt}"][0]
                    + output * self.alone[shape, "decode 4"][0] / 4
                )
                rate = load / len(fleet.shapes) / once
                rng = random.Random(f"{at} {load}")
                arrivals, clock = [], rng.expovariate(rate)
                while clock < seconds:
                    arrivals.append(clock)
                    clock += rng.expovariate(rate)
                outputs = [max(2, round(rng.expovariate(1 / output))) for _ in arrivals]
                orders[at] = {
                    "do": "serve",
                    "arrivals": arrivals,
                    "outputs": outputs,
                    "seconds": seconds + 5,
                }
            found = fleet.ask(orders)
            computed = {}
            for law in LAWS:
                engines = []
                for at, order in orders.items():
                    known = {n: v for (s, n), v in self.alone.items() if s == fleet.shapes[at]}
                    times = {n: t for n, (t, _) in known.items()}
                    demands = {n: d for n, (_, d) in known.items()}
                    engines.append(
                        Serving(order["arrivals"], order["outputs"], times, demands, prompt)
                    )
                simulate(law, engines, seconds + 5)
                computed[law] = [e.requests.latencies() for e in engines]
            for at, shape in enumerate(fleet.shapes):
                row = {
                    "load": load,
                    "shape": shape,
                    "requests": len(orders[at]["arrivals"]),
                    "answered": len(found[at]["ttft"]),
                    "measured": summary(found[at]),
                    "computed": {law: summary(computed[law][at]) for law in LAWS},
                }
                rows.append(row)
                say(f"  load {load}, {shape}: measured {row['measured']}")
                for law in LAWS:
                    say(f"    {law}: {row['computed'][law]}")
        return rows

    def crowd(self):
        """Decode in more and more plain processes at once; record what their speeds add up to."""
        say("crowd: starting six processes")
        options = {"device": self.args.device, "small": self.args.small}
        fleet = Fleet(["3B"] * 6, options, {})
        order = {"do": "loop", "kind": "decode", "size": 8, "duty": 1, "alone": 0}
        rows = []
        try:
            for count in (1, 2, 3, 4, 6):
                found = fleet.ask({at: {**order, "seconds": self.seconds} for at in range(count)})
                ms = [1e3 * found[at]["mean"] for at in range(count)]
                rows.append({"processes": count, "ms": ms})
                speeds = sum(rows[0]["ms"][0] / each for each in ms)
                rows[-1]["speeds_add_up_to"] = speeds
                say(f"  {count} decode: {statistics.fmean(ms):.2f} ms, together {speeds:.3f}")
        finally:
            fleet.close()
        self.result["crowd"] = rows
        self.save()

    def part(self, name, environment):
        """Measure one way of sharing."""
        say(f"{name}: starting three processes")
        options = {"device": self.args.device, "small": self.args.small}
        fleet = Fleet(["8B", "8B", "3B"], options, environment)
        try:
            if not self.alone:
                self.measure_alone(fleet)
                self.save()
            together = self.measure_together(fleet)
            self.result["parts"][name] = {"together": together, **verdict(together)}
            self.save()
            requests = self.measure_requests(fleet)
            self.result["parts"][name].update({"requests": requests, **request_errors(requests)})
            self.save()
        finally:
            fleet.close()


def summary(found):
    """Return mean TTFT and time per output token, in milliseconds."""
    if not found["ttft"]:
        return {"ttft_ms": None, "tpot_ms": None}
    return {
        "ttft_ms": 1e3 * statistics.fmean(found["ttft"]),
        "tpot_ms": 1e3 * statistics.fmean(found["tpot"]),
    }


def verdict(rows):
    """Return the errors of each law, and the law that holds."""
    errors = {
        law: [row["computed_ms"][law] / row["ms"] - 1 for row in rows] for law in LAWS if rows
    }
    shown = {
        law: {
            "median_error": statistics.median(map(abs, found)),
            "largest_error": max(map(abs, found)),
            "mean_signed_error": statistics.fmean(found),
        }
        for law, found in errors.items()
    }
    best = min(shown, key=lambda law: shown[law]["median_error"]) if shown else None
    return {"laws": shown, "holds": best}


def request_errors(rows):
    """Return the median error of each law in TTFT and in time per output token."""
    found = {}
    for law in LAWS:
        for key in ("ttft_ms", "tpot_ms"):
            errors = [
                abs(row["computed"][law][key] / row["measured"][key] - 1)
                for row in rows
                if row["measured"][key] and row["computed"][law][key]
            ]
            found.setdefault(law, {})[key] = statistics.median(errors) if errors else None
    return {"request_errors": found}


def start_mps(folder):
    """Start an MPS daemon of our own; return its environment, or why there is none."""
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None:
        return None, "nvidia-cuda-mps-control is not installed"
    environment = {
        "CUDA_MPS_PIPE_DIRECTORY": f"{folder}/pipe",
        "CUDA_MPS_LOG_DIRECTORY": f"{folder}/log",
    }
    for path in environment.values():
        Path(path).mkdir(parents=True)
    try:
        done = subprocess.run(
            [control, "-d"],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"the MPS daemon did not start: {error}"
    if done.returncode:
        return None, f"the MPS daemon did not start: {(done.stdout + done.stderr).strip()}"
    return environment, ""


def stop_mps(environment):
    """End the daemon that `start_mps` started."""
    subprocess.run(
        ["nvidia-cuda-mps-control"],
        input="quit\n",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def say(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def about_device(device):
    """Return what was measured on."""
    import torch

    if device == "cuda":
        return {"device": torch.cuda.get_device_name(0), "torch": torch.__version__}
    return {"device": "CPU, one core", "torch": torch.__version__}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", default="gpu_check.json", help="where the result goes")
    parser.add_argument("--small", action="store_true", help="tiny shapes, for a CPU")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda if there is one")
    parser.add_argument("--crowd", action="store_true", help="memory and 5 alone")
    parser.add_argument("--seconds", type=float, default=440, help="time that all may take")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(json.loads(args.worker))
        return
    import torch

    # Not torch.cuda.is_available() in a parent that forks: here processes are started anew.
    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if args.device == "cpu":
        args.small = True
        if hasattr(os, "sched_setaffinity"):  # the processes share one core, as they would a GPU
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    check = Check(args)
    check.result.update(about_device(args.device))
    if args.device == "cuda":
        check.result["memory_bytes"] = measure_process_memory()
        say(f"memory: {check.result['memory_bytes']}")
    check.crowd()
    if args.crowd:
        return
    check.part("processes", {})
    if args.device == "cuda" and check.left() > 90:
        with tempfile.TemporaryDirectory() as folder:
            environment, reason = start_mps(folder)
            if environment is None:
                check.result["mps"] = reason
            else:
                try:
                    check.part("mps", environment)
                except (RuntimeError, OSError, ValueError) as error:
                    check.result["mps"] = f"the processes did not run under MPS: {error}"
                finally:
                    stop_mps(environment)
    else:
        check.result["mps"] = "not tried: no GPU" if args.device == "cpu" else "no time left"
    check.save()
    for name, part in check.result["parts"].items():
        say(f"{name}: the law that holds is {part['holds']}")
        for law, errors in part["laws"].items():
            say(
                f"  {law}: median error {errors['median_error']:.0%}, "
                f"largest {errors['largest_error']:.0%}"
            )
        for law, errors in part.get("request_errors", {}).items():
            say(
                f"  requests, {law}: median error "
                + ", ".join(
                    f"{key} {'-' if e is None else format(e, '.0%')}" for key, e in errors.items()
                )
            )
    if "mps" in check.result:
        say(f"mps: {check.result['mps']}")


if __name__ == "__main__":
    main()
