"""Kubernetes: a Deployment per GPU group, a Service per model.

The device plugin hands a pod as many GPUs of its node as it asks for and says nothing about which:
a group gets GPUs of the planned node, not the planned numbers. Where all GPUs of a node are alike,
that is the same plan; where they are not, or where other pods take GPUs too, it may not be.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from kvplace.export.commands import STATIC
from kvplace.export.images import CACHE, SHM_GIB, health_check, mounted, one_image
from kvplace.export.layout import Engine, Group, Host, Layout
from kvplace.export.names import digits_of, labels
from kvplace.export.runtimes.script import script
from kvplace.export.text import yaml_text

SECRET = "kvplace"  # noqa: S105 - the name of an object, not a secret
_HOSTNAME = re.compile(r"(?=.{1,63}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.ASCII)
_NOTE = (
    "The device plugin chooses which GPUs of the node a pod gets: the plan's numbers are not "
    "pinned, only the node and the GPUs that share engines."
)


def kubernetes_files(layout: Layout, pool: str = STATIC) -> dict[str, str]:
    """Return ``group-LABEL.yaml`` for each GPU group, and ``services.yaml``.

    Parameters
    ----------
    layout
        What runs where.
    pool
        How the engines of a pod share KV memory.

    Raises
    ------
    InputError
        Engines of one pod want different images, or a directory cannot be mounted.
    """
    model_labels = labels(model.name for model in layout.problem.models)
    files = {}
    for host in layout.hosts:
        for group in host.groups:
            head = [f"The engines of {', '.join(gpu.id for gpu in group.gpus)}", _NOTE]
            objects = _objects(host, group, model_labels, pool)
            files[f"group-{group.label}.yaml"] = yaml_text(objects, head, many=True)
    most: dict[str, int] = {}
    for group in (group for host in layout.hosts for group in host.groups):
        for engine, copy in zip(group.engines, _copies(group), strict=True):
            most[engine.model.name] = max(most.get(engine.model.name, 0), copy)
    services = [_service(name, model_labels[name], copies) for name, copies in most.items()]
    files["services.yaml"] = yaml_text(services, ["A Service per model"], many=True)
    return files


def metadata(label: str, group: Group) -> dict[str, Any]:
    """Return the metadata of an object of a group; exact names stand in annotations."""
    models = [[engine.served_name, list(engine.gpus)] for engine in group.engines]
    return {
        "name": label,
        "labels": {"app.kubernetes.io/managed-by": "kvplace", "kvplace/group": group.label},
        "annotations": {"kvplace/placement": json.dumps(models)},
    }


def affinity(host: Host) -> dict[str, Any]:
    """Return what binds a pod to its node, by the node's name or, where none can be, its label."""
    name = host.node.name
    hostname = name if _HOSTNAME.fullmatch(name) else host.label
    hostname = host.node.labels.get("kubernetes.io/hostname", hostname)
    term = {"key": "kubernetes.io/hostname", "operator": "In", "values": [hostname]}
    terms = [{"matchExpressions": [term]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": required}


def secret_variables(engines: Sequence[Engine]) -> list[dict[str, Any]]:
    """Return environment variables that are read from the Secret `SECRET`, by their names."""
    names = sorted({name for engine in engines for name in engine.model.launch.secrets})
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": name}}}
        for name in names
    ]


def shared(engines: Sequence[Engine]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return volumes and mounts that every pod of engines has: shared memory and checkpoints."""
    volumes: list[dict[str, Any]] = [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{SHM_GIB}Gi"}},
        {
            "name": "models",
            "hostPath": {"path": "/var/lib/kvplace/models", "type": "DirectoryOrCreate"},
        },
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - shared memory, not a file
        {"name": "models", "mountPath": CACHE},
    ]
    for path in mounted(engines):
        name = f"dir-{digits_of(path, 16)}"
        volumes.append({"name": name, "hostPath": {"path": path, "type": "Directory"}})
        mounts.append({"name": name, "mountPath": path, "readOnly": True})
    return volumes, mounts


def _port_name(model: str, copy: int = 0) -> str:
    """Return the name of a model's port, the same in every pod that serves it.

    Parameters
    ----------
    model
        Its name.
    copy
        Number of the copy within the pod, from 0: a group with tensor parallel may hold several.
    """
    return f"p-{digits_of(model, 10)}{f'-{copy}' if copy else ''}"


def _copies(group: Group) -> list[int]:
    """Return, for each engine of a group, how many of the same model stand before it."""
    seen: Counter[str] = Counter()
    numbers = []
    for engine in group.engines:
        numbers.append(seen[engine.model.name])
        seen[engine.model.name] += 1
    return numbers


def _objects(
    host: Host, group: Group, model_labels: dict[str, str], pool: str
) -> list[dict[str, Any]]:
    """Return the ConfigMap with the start script, and the Deployment."""
    place = {index: at for at, index in enumerate(group.indices)}
    alone = Host(host.label, host.node, (group,))
    head = [f"Starts the engines of {', '.join(gpu.id for gpu in group.gpus)}."]
    start = script(
        alone.waves(), head, pool, lambda engine: [place[index] for index in engine.indices]
    )
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(group.label, group),
        "data": {"start.sh": start},
    }
    about = metadata(group.label, group)
    serves = {f"kvplace/{model_labels[e.model.name]}": "serves" for e in group.engines}
    pod_labels = about["labels"] | {"app.kubernetes.io/name": group.label} | serves
    template = {
        "metadata": {
            "labels": pod_labels,
            # A changed script is a changed pod.
            "annotations": {"kvplace/start": digits_of(start, 16)},
        },
        "spec": _pod(host, group, pool),
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": about,
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},  # the old pod holds the GPUs that the new one needs
            "selector": {"matchLabels": {"app.kubernetes.io/name": group.label}},
            "template": template,
        },
    }
    return [settings, deployment]


def _pod(host: Host, group: Group, pool: str) -> dict[str, Any]:
    """Return the pod of a group: one container, because only one can be given the GPUs."""
    where = ", ".join(gpu.id for gpu in group.gpus)
    volumes, mounts = shared(group.engines)
    volumes.append({"name": "start", "configMap": {"name": group.label}})
    mounts.append({"name": "start", "mountPath": "/etc/kvplace", "readOnly": True})
    probe = {"exec": {"command": health_check(engine.port for engine in group.engines)}}
    container = {
        "name": "engines",
        "image": one_image(group.engines, pool, where),
        "command": ["bash", "/etc/kvplace/start.sh"],
        "ports": [
            {"name": _port_name(engine.model.name, copy), "containerPort": engine.port}
            for engine, copy in zip(group.engines, _copies(group), strict=True)
        ],
        "resources": {"limits": {"nvidia.com/gpu": len(group.gpus)}},
        "volumeMounts": mounts,
        "startupProbe": probe | {"periodSeconds": 10, "timeoutSeconds": 8, "failureThreshold": 360},
        "readinessProbe": probe | {"periodSeconds": 10, "timeoutSeconds": 8},
        "livenessProbe": probe | {"periodSeconds": 30, "timeoutSeconds": 20, "failureThreshold": 5},
    }
    secrets = secret_variables(group.engines)
    if secrets:
        container["env"] = secrets
    return {
        "affinity": affinity(host),
        "containers": [container],
        "terminationGracePeriodSeconds": 60,
        "volumes": volumes,
    }


def _service(name: str, label: str, copies: int) -> dict[str, Any]:
    """Return the Service of a model: every pod that serves it, at the port it has there.

    Further copies in one pod are at ports 81 and up: a Service leads to one port of a pod.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": label,
            "labels": {"app.kubernetes.io/managed-by": "kvplace"},
            "annotations": {"kvplace/model": name},
        },
        "spec": {
            "selector": {f"kvplace/{label}": "serves"},
            "ports": [
                {
                    "name": f"http{f'-{copy}' if copy else ''}",
                    "port": 80 + copy,
                    "targetPort": _port_name(name, copy),
                }
                for copy in range(copies + 1)
            ],
        },
    }
