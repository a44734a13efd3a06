"""Ray Serve: one application; a deployment whose bundles or arguments change is updated in place.

``serve deploy`` states the whole application. A deployment that changes is rolled over: of one with
a single replica the old one stops before the new one starts. Ray starts a replica where the shares
of GPUs that it asks for are free, so nothing is over its memory, and the order is Ray's.
"""

from kvplace.export.runbook.book import Action, Book
from kvplace.export.runbook.deeds import DeedKind, deeds_of
from kvplace.export.runbook.lines import BEFORE, unknown
from kvplace.export.runbook.transition import Transition
from kvplace.export.runtimes.ray_serve import APPLICATION

__all__ = ["ray_serve_book"]

_FUNCTIONS = r"""
# dashboard of the cluster's head: ray status there says what it has
dashboard=${RAY_DASHBOARD_ADDRESS:-http://localhost:8265}
status='import json, sys
print(json.load(sys.stdin)["applications"][sys.argv[1]]["status"])'

# settled APPLICATION: until it runs as stated
settled() {
  if ((dry)); then
    say "+ wait until $dashboard says that $1 is RUNNING, ${START_SECONDS:-1800} s at most"
    return
  fi
  local left=${START_SECONDS:-1800} answer
  while ((left-- > 0)); do
    answer=$(curl -fsS --max-time 10 "$dashboard/api/serve/applications/") || answer=
    case $(python3 -c "$status" "$1" <<<"$answer" 2>/dev/null) in
      RUNNING) return ;;
      DEPLOY_FAILED | UNHEALTHY) fail "$1 is not healthy: serve status says why" ;;
    esac
    sleep 1
  done
  fail "$1 is not RUNNING after ${START_SECONDS:-1800} s"
}
"""


def ray_serve_book(transition: Transition) -> Book:
    """Return what Ray Serve makes of a proposal."""
    moved = sorted(
        {e.model.name for d in deeds_of(transition) if d.kind is DeedKind.LOAD for e in d.engines}
    )
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
    down = [name for name in moved if name in running]
    notes = ["Ray updates a changed deployment in place, and chooses the order itself"]
    if down:
        notes.append(f"a copy of these stops before the new one starts: {', '.join(down)}")
    return Book(actions if transition.proposal.steps else (), {}, (), _FUNCTIONS, tuple(notes))
