"""Ray Serve: one application, all of whose deployments start again where anything changes.

``serve deploy`` states the whole application. Its arguments are part of the version of all of its
deployments, so each of them is rolled over where one changes: of one with a single replica the old
one stops before the new one starts. Ray starts a replica where the shares of GPUs that it asks for
are free, so nothing is over its memory, and the order is Ray's. An application that failed is not
tried again unless it is changed, so what failed is taken back first.

A cluster that wants a token gets it from where its own commands find it: ``RAY_AUTH_TOKEN``, the
file ``RAY_AUTH_TOKEN_PATH``, or ``~/.ray/auth_token`` (Ray 2.60, ray/_private/authentication).
"""

from kvplace.export.runbook.book import Action, Book
from kvplace.export.runbook.lines import BEFORE, unknown
from kvplace.export.runbook.transition import Transition
from kvplace.export.runtimes.ray_serve import APPLICATION

_FUNCTIONS = r"""
# dashboard of the cluster's head: ray status there says what it has
dashboard=${RAY_DASHBOARD_ADDRESS:-http://localhost:8265}
status='import json, sys
print(json.load(sys.stdin)["applications"][sys.argv[1]]["status"])'

# the header with the token that Ray's own commands take, where there is one
token() {
  local token=${RAY_AUTH_TOKEN:-} file=${RAY_AUTH_TOKEN_PATH:-${HOME:-}/.ray/auth_token}
  [[ $token || ! -r $file ]] || token=$(<"$file")
  [[ ! $token ]] || printf 'Authorization: Bearer %s\n' "$token"
}
[[ ! $(token) ]] || export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}

# settled APPLICATION: until it runs as stated
settled() {
  if ((dry)); then
    say "+ wait until $dashboard says that $1 is RUNNING, ${START_SECONDS:-1800} s at most"
    return
  fi
  local left=${START_SECONDS:-1800} answer
  while ((left-- > 0)); do
    answer=$(curl -fsS --max-time 10 -H @<(token) "$dashboard/api/serve/applications/") || answer=
    case $(python3 -c "$status" "$1" <<<"$answer" 2>/dev/null) in
      RUNNING) return ;;
      DEPLOY_FAILED | UNHEALTHY)
        fail "$1 is not healthy: serve status says why. Ray does not try what failed again: mend" \
          "the cause, take it back with --back, and begin anew"
        ;;
    esac
    sleep 1
  done
  fail "$1 is not RUNNING after ${START_SECONDS:-1800} s"
}
"""


def ray_serve_book(transition: Transition) -> Book:
    """Return what Ray Serve makes of a proposal."""
    lines = (
        'run serve deploy serve.yaml --address "$dashboard"',
        f"settled {APPLICATION}",
    )
    running = {r.part.model for r in transition.running.values()}
    known = {engine.model.name for engine in transition.before.engines}
    lost = [r for r in transition.running.values() if r.part.model not in known]
    again = (f'run serve deploy {BEFORE}serve.yaml --address "$dashboard"', *lines[1:])
    stop = 'run serve shutdown -y --address "$dashboard"'
    back = (*map(unknown, lost), *again) if running else (stop,)
    actions = (Action("deploy the application as planned", lines, back),)
    notes = ["Ray starts all deployments of the application again, and chooses the order itself"]
    if running:
        notes.append("models with one copy are not served meanwhile, also those that stay")
    return Book(actions if transition.proposal.steps else (), {}, (), _FUNCTIONS, tuple(notes))
