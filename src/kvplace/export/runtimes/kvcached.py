"""kvcached: a controller file per node, and one for the front end that routes to all of them.

What the controller makes of its keys, and what follows:

- An instance without a port is started and never routed to: each has its own.
- Routing is keyed by ``model``; in the front end's file, further copies of a model therefore go
  by the name they are served under, and only the first by the model's own.
- The router dials the host that the engine listens on: an address, never ``0.0.0.0``.
- ``using_venv`` needs ``venv_path``, and vLLM is started from a virtual environment only.
- Instance names become names of tmux sessions and are put into a shell line as they are: labels.
- Arguments are split by shell rules: each is quoted. Memory flags are left to kvcached.
"""

import ipaddress
import re
import shlex
from collections.abc import Mapping
from typing import Any

from kvplace.errors import InputError
from kvplace.export.commands import KVCACHED, arguments, environment
from kvplace.export.layout import Engine, Host, Layout
from kvplace.export.text import yaml_text

DEFAULT_VENV = "~/kvcached/venv"
ROUTER_PORT = 8080
_START_SECONDS = 30
_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
                   r"(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*", re.ASCII)  # fmt: skip


def kvcached_files(
    layout: Layout, addresses: Mapping[str, str] | None = None, venv: str = DEFAULT_VENV
) -> dict[str, str]:
    """Return ``node-LABEL.yaml`` for each host and ``frontend.yaml``.

    Parameters
    ----------
    layout
        What runs where.
    addresses
        Address of a node by its name, where that is not the name itself.
    venv
        Virtual environment of models that name none.
    """
    addresses = addresses or {}
    alone = len(layout.hosts) == 1
    files = {}
    routed = []
    for host in layout.hosts:
        address = address_of(host, addresses, alone=alone)
        waves = {e.label: at for at, wave in enumerate(host.waves()) for e in wave}
        ordered = sorted(host.engines, key=lambda engine: waves[engine.label])
        instances = []
        for at, engine in enumerate(ordered):
            later = at > 0 and waves[engine.label] > 0
            instances.append(instance_of(engine, address, venv, later=later))
        head = [
            f"kvcached controller: the engines of node {host.node.name}",
            "Start with: python launch.py --config THIS_FILE; frontend.yaml is for the router",
        ]
        data = {
            "kvcached": {"kvcached_gpu_utilization": 0.95, "kvcached_log_level": "INFO"},
            "router": {"enable_router": False, "router_port": ROUTER_PORT, "router_host": address},
            "instances": instances,
        }
        files[f"node-{host.label}.yaml"] = yaml_text(data, head)
        routed += [instance_of(e, address, venv, later=False) | {"model": e.served_name}
                   for e in ordered]  # fmt: skip
    head = [
        "kvcached front end: routes to the engines of all nodes; start none with this file",
        f"Start with: python frontend.py --config THIS_FILE --port {ROUTER_PORT}",
    ]
    router = {"enable_router": True, "router_port": ROUTER_PORT, "router_host": "localhost"}
    files["frontend.yaml"] = yaml_text({"router": router, "instances": routed}, head)
    return files


def address_of(host: Host, addresses: Mapping[str, str], *, alone: bool) -> str:
    """Return where the engines of a host listen and are dialled.

    Raises
    ------
    InputError
        The address given is none that can be dialled.
    """
    name = addresses.get(host.node.name)
    if name is None:
        if alone:
            return "localhost"
        return host.node.name if _NAME.fullmatch(host.node.name) else host.label
    try:
        ip = ipaddress.ip_address(name)
        unspecified = ip.is_unspecified or ip.version != 4
    except ValueError:
        unspecified = not _NAME.fullmatch(name)
    if unspecified:
        raise InputError(
            f"{name!r} is no address that the router can dial; name the host", "address"
        )
    return name


def name_of(label: str) -> str:
    """Return what the controller calls an engine: no name begins with another.

    tmux takes the begin of a session's name for the name, and the controller asks for sessions so
    (controller/utils.py, ensure_tmux_session): with ``llama-70b`` it would not start ``llama``, or
    end the other. Labels have no underscore, so with one behind them none begins with another.
    """
    return f"{label}_"


def instance_of(engine: Engine, address: str, venv: str, *, later: bool = False) -> dict[str, Any]:
    """Return one engine as the controller wants it."""
    launch = engine.model.launch
    own = dict(launch.env)
    pool = {name: value for name, value in environment(engine, KVCACHED).items() if name not in own}
    devices = ",".join(map(str, engine.indices))
    data: dict[str, Any] = {
        "name": name_of(engine.label),
        "model": engine.source,
        "engine": launch.engine,
        "using_venv": bool(launch.venv) or launch.engine == "vllm",
    }
    if data["using_venv"]:
        data["venv_path"] = launch.venv or venv
    if later:
        data["launch_delay_seconds"] = _START_SECONDS
    data["kvcached_env"] = [f"{name}={value}" for name, value in pool.items()]
    data["engine_env"] = [f"CUDA_VISIBLE_DEVICES={devices}"]
    data["engine_env"] += [f"{name}={value}" for name, value in own.items()]
    words = [*arguments(engine, address), *launch.args]
    data["engine_args"] = [shlex.quote(word) for word in words]
    return data
