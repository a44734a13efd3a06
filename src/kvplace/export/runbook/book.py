"""The script of a runbook: steps in order, a dry run, a stop at the first failure, a way to go on.

Every step is a function of the script, and so is what takes it back. What is begun and what is done
is noted in a file beside it, so that a second run goes on where the first one stopped, and the way
back begins there; every command can therefore be given twice.

To sleep and to wake are endpoints of vLLM's development mode (entrypoints/serve/dev/sleep and
dev/rpc in vLLM 0.32); after level 2 its documentation has weights read again between the weights'
memory and that of the KV cache (features/sleep_mode). SGLang has the same under other names
(entrypoints/http_server.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from shlex import quote

from kvplace.export.text import banner, comment

_HEAD = r"""
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

state=${STATE:-./runbook.done} dry=0 late=0 back=0

usage() {
  cat <<'END'
usage: ./runbook.sh [--back] [--dry-run] [--list] [--expired]
  --back     take back what is done, the last step first
  --dry-run  print every command that is left, and give none; with --back before
             the first step, all commands of the way back
  --list     print the steps, and which are done [x] or begun [~]
  --expired  begin although the time of the proposal is over
Steps that are done stand in runbook.done (STATE); a second run goes on after them,
and one with --back begins there.
END
}

say() { printf '%s\n' "$*"; }
fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# run COMMAND...: give it, or print it
run() {
  if ((dry)); then
    printf '+'
    printf ' %q' "$@"
    printf '\n'
  else
    "$@" 9>&-
  fi
}

# is WORD NUMBER: whether the state says so of a step
is() { grep -qxF "$1 $2" "$state" 2>/dev/null; }

# note NUMBER [WORD]: let the state say so of a step, and nothing else
note() {
  ((dry)) || {
    grep -vxE "(begun|done) $1" "$state" >"$state.part" || true
    [[ -z ${2:-} ]] || say "$2 $1" >>"$state.part"
    mv "$state.part" "$state"
  }
}

# step NUMBER TITLE: unless it is done
step() {
  local mark=' '
  if is "done" "$1"; then mark=x; elif is begun "$1"; then mark='~'; fi
  if ((list)); then say "[$mark] $1 $2"; fi
  if ((list)) || [[ $mark == x ]]; then return; fi
  say "step $1: $2"
  current=$1
  note "$1" begun
  "step_$1"
  note "$1" "done"
  current=""
}

# undo NUMBER TITLE: if it is done or begun; in a dry run, all if none is
undo() {
  is "done" "$1" || is begun "$1" || ((dry && !begun)) || return 0
  say "back from step $1: $2"
  current=$1
  note "$1" begun
  "back_$1"
  note "$1"
  current=""
}

list=0 begun=0 current=""
ended() {
  local how="not done"
  ((!back)) || how="half taken back"
  [[ -z $current ]] || say "step $current is $how; mend the cause, run it again" >&2
}
trap ended EXIT
"""
_ROUTE = r"""
# route add|remove MODEL URL: tell the router, by a command of yours
route() {
  if ((dry)) || [[ -n ${ROUTER_HOOK:-} ]]; then
    run "${ROUTER_HOOK:-ROUTER_HOOK}" "$@"
  elif [[ -t 0 ]]; then
    local answer
    read -r -p "router: $1 $2 at $3. Done? [y/N] " answer
    [[ $answer == [yY]* ]] || fail "the router is not changed"
  else
    fail "set ROUTER_HOOK to a command that takes: add|remove MODEL URL"
  fi
}
"""
_AWAIT = r"""
# await ADDRESS PORT: until the engine there is healthy
await() {
  run curl -fsS -o /dev/null --max-time 5 --retry "${START_SECONDS:-1800}" --retry-delay 1 \
    --retry-max-time "${START_SECONDS:-1800}" --retry-all-errors "http://$1:$2/health"
}
"""
_DRAIN = r"""
# drain ADDRESS PORT: until no request is in flight, or DRAIN_SECONDS are over
drain() {
  if ((dry)); then
    say "+ wait until http://$1:$2/metrics counts no request, ${DRAIN_SECONDS:-60} s at most"
    return
  fi
  local left=${DRAIN_SECONDS:-60} answer
  while ((left-- > 0)); do
    answer=$(curl -fsS --max-time 5 "http://$1:$2/metrics" 2>/dev/null) || return 0
    awk '/^(vllm:num_requests_(running|waiting)|sglang:num_(running|queue)_reqs)[{ ]/ { sum += $NF }
      END { exit (sum > 0) }' <<<"$answer" && return 0
    sleep 1
  done
  say "requests are still in flight at $1:$2 after ${DRAIN_SECONDS:-60} s; they are cut"
}
"""
_ON = r"""
# on ADDRESS COMMAND...: give it there, by ssh where that is not this machine
on() {
  local address=$1
  shift
  if [[ $address == localhost ]]; then
    run "$@"
  else
    run ssh -o BatchMode=yes "$address" "$(printf '%q ' "$@")"
  fi
}

# put FILE ADDRESS PATH: copy a file there
put() {
  if ((dry)); then
    say "+ copy $1 to $2:$3"
  else
    on "$2" bash -c 'mkdir -p "$(dirname "$1")" && cat >"$1.part" && mv "$1.part" "$1"' \
      put "$3" <"$1"
  fi
}
"""
_SLEEP = r"""
# doze ADDRESS PORT ENGINE LEVEL: take weights and KV off the GPUs, unless they are
doze() {
  if [[ $3 == sglang ]]; then
    run curl -fsS -o /dev/null -X POST -H 'Content-Type: application/json' -d '{}' \
      "http://$1:$2/release_memory_occupation"
  elif ((dry)) || ! sleeps "$1" "$2"; then
    run curl -fsS -o /dev/null -X POST "http://$1:$2/sleep?level=$4"
  fi
}

# sleeps ADDRESS PORT: whether an engine says so
sleeps() { curl -fsS --max-time 60 "http://$1:$2/is_sleeping" | grep -q true; }

# rouse ADDRESS PORT ENGINE LEVEL: bring them back, unless they are there
rouse() {
  if [[ $3 == sglang ]]; then
    run curl -fsS -o /dev/null -X POST -H 'Content-Type: application/json' -d '{}' \
      "http://$1:$2/resume_memory_occupation"
  elif ((!dry)) && ! sleeps "$1" "$2"; then
    return 0
  elif (($4 == 1)); then
    run curl -fsS -o /dev/null -X POST "http://$1:$2/wake_up"
  else
    run curl -fsS -o /dev/null -X POST "http://$1:$2/wake_up?tags=weights"
    run curl -fsS -o /dev/null -X POST -H 'Content-Type: application/json' \
      -d '{"method": "reload_weights"}' "http://$1:$2/collective_rpc"
    run curl -fsS -o /dev/null -X POST "http://$1:$2/wake_up?tags=kv_cache"
  fi
}
"""
_PARTS = {"sleep": _SLEEP, "route": _ROUTE, "await": _AWAIT, "drain": _DRAIN, "on": _ON}
_TAIL = r"""
while (($#)); do
  case $1 in
    --dry-run) dry=1 ;;
    --list) list=1 ;;
    --back) back=1 ;;
    --expired) late=1 ;;
    -h | --help)
      usage
      exit
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
  shift
done

exec 9<"$(basename "${BASH_SOURCE[0]}")"  # in the directory gone to above
if command -v flock >/dev/null; then flock -n 9 || fail "this runbook is being run already"; fi
if [[ -s $state ]]; then
  [[ $(head -n 1 "$state") == "proposal $proposal" ]] || fail "$state is of another proposal"
  ! grep -qE '^(begun|done) ' "$state" || begun=1
elif ((!dry && !list && !back)); then
  if ((!late)) && [[ $(date -u +%Y-%m-%dT%H:%M:%SZ) > $expires ]]; then
    fail "the time of this proposal was over at $expires: make a new one, or say --expired"
  fi
  say "proposal $proposal" >"$state"
fi
"""
_BACK = """\
  if ((!dry && begun)); then
    rm -f "$state"
    say "all is taken back"
  elif ((!dry)); then
    say "nothing is to be taken back"
  fi
  exit
fi

"""


@dataclass(frozen=True, slots=True)
class Action:
    """One step of a runbook.

    Parameters
    ----------
    title
        What it does, a phrase.
    lines
        Shell lines; words in them are quoted already.
    back
        Shell lines that take it back, whether it is done or only begun.
    """

    title: str
    lines: tuple[str, ...]
    back: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Book:
    """What a runtime makes of a proposal.

    Parameters
    ----------
    actions
        In order.
    files
        Further files that the actions name.
    parts
        Functions of the script that they call: ``sleep``, ``route``, ``await``, ``drain``, ``on``.
    functions
        Shell functions of the runtime's own.
    notes
        What whoever runs it has to know, sentences.
    """

    actions: tuple[Action, ...]
    files: dict[str, str]
    parts: Sequence[str]
    functions: str = ""
    notes: tuple[str, ...] = ()


def write_book(book: Book, identity: str, expires: str, head: Iterable[str]) -> str:
    """Return the script.

    Parameters
    ----------
    book
        What it does.
    identity, expires
        Of the proposal.
    head
        Comments at the top, a line each.
    """
    lines = ["#!/usr/bin/env bash", *banner(head)]
    lines += [f"# {comment(note)}" for note in book.notes]
    lines += ["# shellcheck disable=SC2016,SC2317  # some words are for another shell, or unused"]
    lines += [f"\nproposal={quote(identity)} expires={quote(expires)}"]
    text = "\n".join(lines) + "\n" + _HEAD.lstrip("\n")
    text += "".join(_PARTS[name] for name in _PARTS if name in book.parts)
    text += book.functions
    calls, back = [], []
    for number, action in enumerate(book.actions, 1):
        for name, done in (("step", action.lines), ("back", action.back)):
            body = "".join(f"  {line}\n" for line in done or (":",))
            text += f"\n{name}_{number}() {{\n{body}}}\n"
        words = f"{number} {quote(comment(action.title))}\n"
        calls.append(f"step {words}")
        back.append(f"  undo {words}")
    text += _TAIL + "if ((back && !list)); then\n" + "".join(reversed(back)) + _BACK
    return text + "".join(calls) + "((dry || list)) || say 'all steps are done'\n"
