"""Ray Serve: an application of ``ray.serve.llm`` with a placement bundle per shard.

Each replica is bound to its node by a resource that the node offers, and to a share of a GPU: that
of the memory that the plan gives it, of which its engine may use all but its overhead. Which GPU
of the node it gets is Ray's choice.
"""

import math
import re
from typing import Any

from kvplace.errors import InputError
from kvplace.export.commands import STATIC, environment, limits, memory_arguments
from kvplace.export.flags import keyword_values
from kvplace.export.layout import Engine, Host, Layout
from kvplace.export.text import yaml_text

APPLICATION = "kvplace"
"""Name of the Serve application."""
NODE_RESOURCE = "kvplace-"
"""What the name of the resource that a node offers begins with; its label follows."""

_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}", re.ASCII)
_STEPS = 10_000
_WHOLE = 0.9999
_RESOURCE_PART = 0.001


def ray_serve_files(layout: Layout) -> dict[str, str]:
    """Return ``serve.yaml``.

    Raises
    ------
    InputError
        A model is served by another engine than vLLM, which is what Ray runs.
    """
    configs: list[dict[str, Any]] = []
    known: dict[str, dict[str, Any]] = {}
    deployments: set[str] = set()
    for host in layout.hosts:
        for engine in host.engines:
            config = _config(host, engine)
            alike = repr((engine.model.name, config["engine_kwargs"],
                          config["placement_group_config"]))  # fmt: skip
            if alike in known:  # the same model, share and node: one more replica of it
                known[alike]["deployment_config"]["num_replicas"] += 1
                continue
            _name(config, engine, deployments)
            known[alike] = config
            configs.append(config)
    application = {
        "name": APPLICATION,
        "route_prefix": "/",
        "import_path": "ray.serve.llm:build_openai_app",
        "args": {"llm_configs": configs},
    }
    head = [
        "Ray Serve: start with serve deploy THIS_FILE",
        "Start each node of the cluster with the resource that its models ask for:",
        *(
            f"  {_one_line(host.node.name)}: ray start --resources='{{\"{_resource(host)}\": 1}}'"
            for host in layout.hosts
        ),
        "Ray chooses the GPUs of a node; a shard of at most half a GPU may share one with another",
        "shard of its replica, so give such a model whole GPUs or a degree of 1.",
    ]
    return {"serve.yaml": yaml_text({"applications": [application]}, head)}


def _config(host: Host, engine: Engine) -> dict[str, Any]:
    """Return the LLMConfig of one replica."""
    model = engine.model
    if model.launch.engine != "vllm":
        raise InputError(
            f"{model.name!r} is launched by {model.launch.engine}; ray.serve.llm runs vllm",
            "placement",
        )
    kwargs = keyword_values([*memory_arguments(engine), *limits(engine)], model.name)
    part = engine.footprint_bytes + engine.kv_bytes
    share = math.floor(_STEPS * part / engine.memory_bytes) / _STEPS  # the most digits Ray takes
    if engine.degree > 1:
        kwargs["tensor_parallel_size"] = engine.degree
    kwargs |= keyword_values(model.launch.args, model.name)
    bundle = {
        "CPU": 1,
        "GPU": 1 if share >= _WHOLE else max(share, 1 / _STEPS),
        _resource(host): _RESOURCE_PART,
    }
    config: dict[str, Any] = {
        "model_loading_config": {"model_id": engine.served_name, "model_source": engine.source},
        "engine_kwargs": kwargs,
        "deployment_config": {"num_replicas": 1, "max_ongoing_requests": 1024},
        "placement_group_config": {
            "bundles": [dict(bundle) for _ in range(engine.degree)],
            "strategy": "STRICT_PACK",
        },
    }
    variables = environment(engine, STATIC)
    variables |= {name: f"${{{name}}}" for name in model.launch.secrets}  # filled in by Ray
    if variables:
        config["runtime_env"] = {"env_vars": variables}
    return config


def _name(config: dict[str, Any], engine: Engine, deployments: set[str]) -> None:
    """Give a config an id whose deployment no other has; Ray puts ``--`` for ``/`` in it."""

    def deployment(model_id: str) -> str:
        return re.sub(r"[^A-Za-z0-9]", "-", model_id)

    model_id = engine.served_name
    if not _MODEL_ID.fullmatch(model_id) or deployment(model_id) in deployments:
        model_id = engine.label
    while deployment(model_id) in deployments:
        model_id += "-x"
    deployments.add(deployment(model_id))
    config["model_loading_config"]["model_id"] = model_id


def _resource(host: Host) -> str:
    return f"{NODE_RESOURCE}{host.label}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:80]
