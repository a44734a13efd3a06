"""llama-swap: a configuration per node; what shares a GPU by plan is a group that stays loaded."""

import re
import shlex
from typing import Any

from kvplace.errors import InputError
from kvplace.export.commands import STATIC, command, environment
from kvplace.export.layout import Engine, Host, Layout
from kvplace.export.text import yaml_text

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*", re.ASCII)


def llama_swap_files(layout: Layout) -> dict[str, str]:
    """Return ``llama-swap-LABEL.yaml`` for each host."""
    return {f"llama-swap-{host.label}.yaml": _file(host) for host in layout.hosts}


def _file(host: Host) -> str:
    """Return the configuration of one host."""
    models: dict[str, Any] = {}
    running: list[Engine] = []
    waves = host.waves()
    for wave in waves:
        for engine in wave:
            models[engine.served_name] = _model(engine, running)
        running += wave
    data = {
        "healthCheckTimeout": 1800,
        "logLevel": "info",
        "models": models,
        "groups": {
            group.label: {
                "swap": False,  # all of them run together
                "exclusive": False,  # and unload nobody else
                "persistent": True,  # nor are unloaded
                "members": [engine.served_name for engine in group.engines],
            }
            for group in host.groups
        },
        "hooks": {
            "on_startup": {"preload": [e.served_name for wave in waves for e in wave]},
        },
    }
    head = [
        f"llama-swap: the engines of node {host.node.name}",
        "Start with: llama-swap --config THIS_FILE --listen :8080",
    ]
    return yaml_text(data, head)


def _model(engine: Engine, running: list[Engine]) -> dict[str, Any]:
    """Return one model."""
    words = command(engine, "127.0.0.1", STATIC, running)
    variables = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, engine.indices))}
    variables |= environment(engine, STATIC)
    own = {name: text for name, text in variables.items() if _VARIABLE.fullmatch(name)}
    others = [f"{name}={text}" for name, text in variables.items() if name not in own]
    if any("${" in text or not text.isprintable() for text in variables.values()):
        raise InputError(
            f"an environment variable of {engine.model.name!r} holds what llama-swap would fill in",
            "placement",
        )
    if others:
        words = ["env", *others, *words]
    return {
        "cmd": _line(words),
        "env": [f"{name}={text}" for name, text in own.items()],
        "proxy": f"http://127.0.0.1:{engine.port}",
        "checkEndpoint": "/health",
        "ttl": 0,
        "concurrencyLimit": 1024,  # the engine queues; llama-swap would refuse the eleventh
        "metadata": {"gpus": list(engine.indices), "replica": engine.replica.index},
    }


def _line(words: list[str]) -> str:
    r"""Return words as one line that llama-swap splits into the same words.

    It fills in ``${...}`` wherever it stands, strips lines that start with ``#`` and joins lines
    that end in a backslash: the first is broken up by quotes, the others never arise.
    """
    if all(word.isprintable() for word in words):
        return _unfilled(shlex.join(words))
    inner = "exec " + " ".join(map(_ansi, words))
    return _unfilled(shlex.join(["bash", "-c", inner]))


def _unfilled(line: str) -> str:
    """Break ``${`` up; `shlex` puts every ``$`` between single quotes, where this is nothing."""
    return line.replace("${", "$''{")


def _ansi(word: str) -> str:
    """Return a word for bash with control characters written out."""
    if word.isprintable():
        return shlex.quote(word)
    body = "".join(
        c if c.isalnum() and c.isascii() else "".join(f"\\x{b:02x}" for b in c.encode())
        for c in word
    )
    return f"$'{body}'"
