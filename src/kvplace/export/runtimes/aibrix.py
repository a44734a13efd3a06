"""AIBrix: a warm pool of one pod per GPU group, which pins the plan, and a ModelClaim per replica.

A pool's GPUs are one topology: vLLM wants tensor parallel degree = GPUs of the pod, so a group that
mixes degrees cannot be a pool. Memory flags are AIBrix's own; it refuses them in a claim.
"""

import json
import math
import re
from typing import Any
from urllib.parse import quote

from kvplace.errors import InputError
from kvplace.export.commands import KVCACHED, limits
from kvplace.export.flags import flag_pairs, stated_length
from kvplace.export.images import one_image
from kvplace.export.layout import Engine, Group, Host, Layout
from kvplace.export.runtimes.kubernetes import affinity, metadata, secret_variables, shared
from kvplace.export.text import yaml_text

_MIB = 2**20
_SCHEME = re.compile(r"[a-z][a-z0-9]*", re.ASCII)
_RUNTIME_PORT = 8080
_POOL = "pool.aibrix.ai"
_OWN_FLAGS = frozenset(
    ("--gpu-memory-utilization", "--mem-fraction-static", "--kv-cache-memory-bytes", "--port",
     "--host", "--model", "--served-model-name", "--data-parallel-size")
)  # fmt: skip


def aibrix_files(layout: Layout) -> dict[str, str]:
    """Return ``pool-LABEL.yaml`` for each GPU group: the pool, then the claims on it.

    Raises
    ------
    InputError
        A group mixes tensor parallel degrees or images, or a claim cannot carry an argument.
    """
    files = {}
    for host in layout.hosts:
        for group in host.groups:
            where = ", ".join(gpu.id for gpu in group.gpus)
            other = next((e for e in group.engines if e.degree != len(group.gpus)), None)
            if other:
                raise InputError(
                    f"AIBrix gives every engine of a pool all its GPUs, but {other.served_name!r} "
                    f"takes {other.degree} of the {len(group.gpus)} that engines tie together at "
                    f"{group.gpus[0].id}; allow one tensor_parallel degree for those that meet "
                    "there, or keep them apart by a rule",
                    "placement",
                )
            objects = [pool_of(host, group), *(claim_of(group, engine) for engine in group.engines)]
            head = [
                f"The pool of {where}; a kvcached runtime image is needed (launch.image)",
                "The device plugin chooses which GPUs of the node the pool gets.",
            ]
            files[f"pool-{group.label}.yaml"] = yaml_text(objects, head, many=True)
    return files


def pool_of(host: Host, group: Group) -> dict[str, Any]:
    """Return the Deployment of a pool."""
    pool_labels = {f"{_POOL}/name": group.label, f"{_POOL}/enabled": "true"}
    about = metadata(group.label, group)
    about["labels"] |= pool_labels
    if len(group.gpus) == 1:
        about["annotations"][f"{_POOL}/policy"] = json.dumps(_policy(group), separators=(",", ":"))
    volumes, mounts = shared(group.engines)
    volumes.append({"name": "registry", "emptyDir": {}})
    mounts.append({"name": "registry", "mountPath": "/var/run/aibrix"})
    container: dict[str, Any] = {
        "name": "aibrix-runtime",
        "image": one_image(group.engines, KVCACHED, ", ".join(gpu.id for gpu in group.gpus)),
        # All interfaces of the pod: the engine and the gateway are other containers.
        "command": ["aibrix_runtime", "--host", "0.0.0.0", "--port", str(_RUNTIME_PORT)],  # noqa: S104 - a pod listens on all its addresses
        "ports": [{"name": "runtime", "containerPort": _RUNTIME_PORT}],
        # The agent itself stays unpatched; it joins each engine that it starts to the pool.
        "env": [
            {"name": "ENABLE_KVCACHED", "value": "false"},
            {"name": "KVCACHED_AUTOPATCH", "value": "0"},
            {"name": "AIBRIX_WEIGHT_CACHE_DIR", "value": "/root/.cache/huggingface"},
            *_variables(group),
            *secret_variables(group.engines),
        ],
        "resources": {"limits": {"nvidia.com/gpu": len(group.gpus)}},
        "readinessProbe": {
            "httpGet": {"path": "/healthz", "port": _RUNTIME_PORT},
            "periodSeconds": 5,
        },
        "volumeMounts": mounts,
    }
    selector = {"app.kubernetes.io/name": group.label}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": about,
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": about["labels"] | selector},
                "spec": {
                    "affinity": affinity(host),
                    "containers": [container],
                    "volumes": volumes,
                },
            },
        },
    }


def _variables(group: Group) -> list[dict[str, str]]:
    """Return what the models' engines want in their environment, which is the pod's.

    Raises
    ------
    InputError
        Two models want a variable to be different.
    """
    found: dict[str, tuple[str, str]] = {}
    for engine in group.engines:
        for name, value in engine.model.launch.env:
            other, given = found.setdefault(name, (engine.model.name, value))
            if given != value:
                raise InputError(
                    f"{other!r} and {engine.model.name!r} share a pool and want {name} to differ",
                    "placement",
                )
    # Kubernetes fills in $(NAME) in values, and $$ stands for $.
    return [{"name": n, "value": v.replace("$", "$$")} for n, (_, v) in sorted(found.items())]


def _policy(group: Group) -> dict[str, Any]:
    """Return the pool's policy: the KV memory there is, and what each model keeps of it."""
    free = group.gpus[0].free_bytes
    floor = min(_floor_bytes(engine) for engine in group.engines)
    percent = int(100 * floor / free)
    reclaim = {"mode": "kv-first", "capacityBytes": free, "guaranteedFloorPercent": percent}
    return {"reclaim": reclaim}


def _floor_bytes(engine: Engine) -> int:
    """Return the KV memory that an engine must keep, at most its part of the pool.

    That of one request of the length that it is told to serve, or else of a mean one, and never
    less than the model's least.
    """
    model = engine.model
    mean = (model.demand.prompt_tokens or 0) + (model.demand.output_tokens or 0)
    tokens = stated_length(model.launch.args) or model.max_model_len or mean
    request = model.request_bytes(math.ceil(tokens), engine.degree)
    wanted = max(model.min_kv_bytes, request, _MIB)
    return min(wanted, max(engine.kv_bytes, model.min_kv_bytes, 1))


def claim_of(group: Group, engine: Engine) -> dict[str, Any]:
    """Return the claim of one replica. All replicas are served under the model's name."""
    model = engine.model
    if model.name.startswith("-"):  # the runtime gives the name as a word of its own
        raise InputError(
            f"AIBrix starts no engine for {model.name!r}: it would take the name for a flag", "name"
        )
    pairs = flag_pairs(model.launch.args, model.name)
    refused = sorted(_OWN_FLAGS & pairs.keys())
    if refused:
        raise InputError(f"{refused[0]} is AIBrix's to set", f"{model.name}.launch.args")
    pairs = flag_pairs(limits(engine), model.name) | pairs
    if engine.degree > 1:
        pairs = {"--tensor-parallel-size": str(engine.degree)} | pairs
    spec: dict[str, Any] = {
        "modelName": model.name,
        "podSelector": {"matchLabels": {f"{_POOL}/name": group.label}},
        "artifactURL": _artifact(engine.source),
        "engine": model.launch.engine,
        "replicas": 1,
    }
    if pairs:
        spec["engineConfig"] = {"args": pairs}
    about = metadata(engine.label, group)
    # No released ModelClaim has a field for them: `perGPU` is a proposal (aibrix#2647, #2744) whose
    # names changed twice, and an unknown field makes the API server refuse the claim.
    about["annotations"] = {
        "kvplace/replica": f"{engine.replica.index}",
        "kvplace/footprint-per-gpu": f"{-(-engine.footprint_bytes // _MIB)}Mi",
        "kvplace/kv-floor-per-gpu": f"{max(1, _floor_bytes(engine) // _MIB)}Mi",
    }
    return {
        "apiVersion": "model.aibrix.ai/v1alpha1",
        "kind": "ModelClaim",
        "metadata": about,
        "spec": spec,
    }


def _artifact(source: str) -> str:
    """Return the location of a checkpoint: a URL, or a path, which the runtime takes as it is."""
    scheme, mark, rest = source.partition("://")
    if mark and _SCHEME.fullmatch(scheme):
        return f"{scheme}://{quote(rest, safe='/:@?=&%+~')}"
    return source if source.startswith("/") else f"huggingface://{quote(source)}"
