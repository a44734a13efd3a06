"""A bash script that starts engines in waves and ends with the first of them that ends."""

from collections.abc import Callable, Iterable, Sequence
from shlex import quote

from kvplace.export.commands import command, environment
from kvplace.export.layout import Engine
from kvplace.export.text import banner, comment, shell_words

_START = r"""
set -euo pipefail

pids=()

stop() {
  trap - EXIT
  for pid in "${pids[@]:-}"; do
    [[ -z $pid ]] || kill "$pid" 2>/dev/null || true
  done
  wait || true
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# healthy PORT: whether an engine answers its health check
healthy() {
  local line=''
  {
    exec 3<>"/dev/tcp/127.0.0.1/$1" &&
      printf 'GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3 &&
      IFS= read -r -t 5 line <&3
    exec 3>&-
  } 2>/dev/null || true
  [[ $line == *' 200 '* ]]
}

# await NAME PORT PID: until the engine is healthy; fails where it ends before
await() {
  local left=${START_SECONDS:-1800}
  until (healthy "$2"); do
    if ! kill -0 "$3" 2>/dev/null; then
      echo "$1 ended before it was ready" >&2
      exit 1
    fi
    if ((left-- <= 0)); then
      echo "$1 is not ready after ${START_SECONDS:-1800} s" >&2
      exit 1
    fi
    sleep 1
  done
  echo "$1 is ready on port $2"
}
"""
_END = """
echo 'all engines are ready'
wait -n "${pids[@]}" || true
echo 'an engine ended; stopping the others' >&2
exit 1
"""


def script(
    waves: Sequence[Sequence[Engine]],
    head: Iterable[str],
    pool: str,
    devices: Callable[[Engine], Iterable[int]],
    log: str = "",
) -> str:
    """Return the script.

    Parameters
    ----------
    waves
        Engines that may start together; a wave waits until the one before is ready.
    head
        Comments at the top, a line each.
    pool
        How KV memory is shared, as in `command`.
    devices
        Numbers of an engine's GPUs where the script runs.
    log
        Variable that holds the directory of log files; empty for the script's own output.
    """
    lines = ["#!/usr/bin/env bash", *banner(head)]
    lines += ["# shellcheck disable=SC2016,SC2317  # names are literal; stop is run by traps"]
    lines += _START.splitlines()
    secrets = sorted({s for wave in waves for engine in wave for s in engine.model.launch.secrets})
    lines += [""] * bool(secrets)
    lines += [f': "${{{name}:?is not set, and an engine needs it}}"' for name in secrets]
    if log:
        lines += ["", f"{log}=${{{log}:-./logs}}", f'mkdir -p "${log}"']
    running: list[Engine] = []
    for number, wave in enumerate(waves, 1):
        lines += ["", f"# Wave {number} of {len(waves)}"]
        for engine in wave:
            lines += _engine(engine, running, pool, devices(engine), log)
        lines += [f'await {engine.label} {engine.port} "$pid_{engine.port}"' for engine in wave]
        running += wave
    return "\n".join(lines) + "\n" + _END


def _engine(
    engine: Engine, running: list[Engine], pool: str, devices: Iterable[int], log: str
) -> list[str]:
    """Return the lines that start one engine in the background."""
    words = command(engine, "0.0.0.0", pool, running)  # noqa: S104 - hosts behind a router
    variables = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, devices))} | environment(engine, pool)
    assigned = [f"{name}={quote(value)}" for name, value in variables.items()]
    if engine.model.launch.venv:
        assigned.append(f'PATH={_home(engine.model.launch.venv)}/bin:"$PATH"')
    start = next(at for at, word in enumerate(words) if word.startswith("--"))
    parts = ["env " + " ".join(assigned), shell_words(words[:start])]
    parts += [quote(word) for word in words[start:]]
    end = f' >"${log}"/{engine.label}.log 2>&1 &' if log else " &"
    return [
        f"# {comment(engine.served_name)[:90]}",
        " \\\n  ".join(parts) + end,
        f"pid_{engine.port}=$!",
        f'pids+=("$pid_{engine.port}")',
    ]


def _home(path: str) -> str:
    """Return a quoted path, with ``~/`` left for the shell to fill in."""
    return f'"$HOME"/{quote(path[2:])}' if path.startswith("~/") else quote(path)
