"""docker compose: a file per node, a service per engine."""

from typing import Any

from kvplace.export.commands import KVCACHED, STATIC, command, environment
from kvplace.export.images import CACHE, SHM_GIB, health_check, image_of, mounted
from kvplace.export.layout import Engine, Host, Layout
from kvplace.export.text import yaml_text

_ENTRY = {"vllm": 2, "sglang": 3}  # words of the command that name the program


def compose_files(layout: Layout, pool: str = STATIC) -> dict[str, str]:
    """Return ``compose-LABEL.yaml`` for each host.

    Parameters
    ----------
    layout
        What runs where.
    pool
        `STATIC`: each engine keeps to its part of the KV memory; `KVCACHED`: they share it, and
        the host's IPC namespace with it.
    """
    return {f"compose-{host.label}.yaml": _file(host, pool) for host in layout.hosts}


def _file(host: Host, pool: str) -> str:
    """Return the file of one host. Engines start one after the other on each GPU."""
    latest: dict[str, Engine] = {}
    running: list[Engine] = []
    services = {}
    for wave in host.waves():
        for engine in wave:
            before = list(dict.fromkeys(latest[g] for g in engine.gpus if g in latest))
            services[engine.label] = _service(engine, before, running, pool)
        for engine in wave:
            latest |= dict.fromkeys(engine.gpus, engine)
        running += wave
    data = {"services": _escaped(services), "volumes": {"models": {}}}
    head = [
        f"docker compose: the engines of node {host.node.name}",
        "Start with: docker compose -f THIS_FILE up -d",
    ]
    return yaml_text(data, head)


def _service(
    engine: Engine, before: list[Engine], running: list[Engine], pool: str
) -> dict[str, Any]:
    """Return one service."""
    words = command(engine, "0.0.0.0", pool, running)  # noqa: S104 - inside its container
    entry = _ENTRY[engine.model.launch.engine]
    device = {
        "driver": "nvidia",
        "device_ids": [str(index) for index in engine.indices],
        "capabilities": ["gpu"],
    }
    variables: dict[str, str | None] = dict(environment(engine, pool))
    variables |= dict.fromkeys(engine.model.launch.secrets)
    data: dict[str, Any] = {
        "image": image_of(engine, pool),
        "entrypoint": words[:entry],
        "command": words[entry:],
        "ports": [f"{engine.port}:{engine.port}"],
        "volumes": [
            {"type": "volume", "source": "models", "target": CACHE},
            *(
                {"type": "bind", "source": path, "target": path, "read_only": True}
                for path in mounted([engine])
            ),
        ],
        "healthcheck": {
            "test": ["CMD", *health_check([engine.port])],
            "interval": "10s",
            "timeout": "8s",
            "retries": 6,
            "start_period": "30m",
        },
        "restart": "unless-stopped",
        "deploy": {"resources": {"reservations": {"devices": [device]}}},
    }
    if variables:
        data["environment"] = variables
    if pool == KVCACHED:
        data["ipc"] = "host"
    else:
        data["shm_size"] = f"{SHM_GIB if engine.degree > 1 else 2}gb"
    if before:
        data["depends_on"] = {o.label: {"condition": "service_healthy"} for o in before}
    return data


def _escaped(value: Any) -> Any:
    """Double every ``$``, which compose would take for a variable."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return value
