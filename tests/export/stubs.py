"""Commands that a runbook gives, replaced by ones that note what they were asked."""

import os
import subprocess
import sys
from pathlib import Path

_STUB = """#!/bin/bash
# A shell, as it starts sooner than Python, and a runbook starts hundreds of them.
name=${{0##*/}} last=${{@: -1}} marks=
host=${{STUB_HOST-${{DOCKER_HOST-}}}}
[[ -f $STUB_LOG.marks ]] && read -r marks < "$STUB_LOG.marks"
printf . >> "$STUB_LOG.marks"
failed=
[[ -n $STUB_FAILS && "$name $*" == *"$STUB_FAILS"* ]] && failed="failed "
[[ ${{STUB_FAILS_AT-}} == "${{#marks}}" ]] && failed="failed "
words=("$failed$name" "$@" ${{host:+"@$host"}})
printf '%s\\0' "${{#words[@]}}" "${{words[@]}}" >> "$STUB_LOG"
[[ -n $failed ]] && exit 3
case $name in
python3) [[ $1 == -c ]] && exec {python} "$@" ;;
ssh) STUB_HOST=${{@: -2:1}} exec bash -c "$last" ;;
docker) [[ " $* " == *" ps "* ]] && echo "id-of-${{last##*=}}" ;;
curl)
  if [[ $last == *metrics* ]]; then
    printf '%s\\n' 'vllm:num_requests_running{{engine="0"}} 0.0' 'vllm:num_requests_waiting 0'
  elif [[ $last == *is_sleeping* ]]; then
    asleep=false
    while IFS= read -r -d '' word; do
      [[ $word == *"${{last%is_sleeping}}"sleep'?'* ]] && asleep=true
      [[ $word == *"${{last%is_sleeping}}"wake_up* ]] && asleep=false
    done < "$STUB_LOG"
    echo "{{\\"is_sleeping\\": $asleep}}"
  elif [[ $last == *serve/applications* ]]; then
    echo '{{"applications": {{"kvplace": {{"status": "RUNNING"}}}}}}'
  fi ;;
tmux) [[ " $* " == *" has-session "* ]] && exit 1 ;;
fuser) [[ " $* " == *" -k "* ]] || exit 1 ;;
esac
exit 0
"""
NAMES = ("docker", "kubectl", "curl", "ssh", "tmux", "fuser", "pkill", "serve", "hook", "setsid",
         "python3")  # fmt: skip


class Stubs:
    """A directory of commands, and what they were asked."""

    def __init__(self, path: Path):
        self.path, self.log, self.marks = path / "bin", path / "log", path / "log.marks"
        self.path.mkdir(parents=True)
        for name in NAMES:
            file = self.path / name
            file.write_text(_STUB.format(python=sys.executable))
            file.chmod(0o755)

    def run(self, script, *words, fails="", **variables):
        """Run a runbook; return how it ended."""
        env = {
            "PATH": f"{self.path}:/usr/bin:/bin",
            "HOME": os.environ.get("HOME", "/"),
            "STUB_LOG": str(self.log),
            "STUB_FAILS": fails,
            "COMPOSE_PROJECT_NAME": "live",
            "ROUTER_HOOK": "hook",
            **variables,
        }
        return subprocess.run(
            ["bash", str(script), *words],
            env=env,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def asked(self):
        """Return the commands given so far, a list of words each."""
        held = os.fsdecode(self.log.read_bytes()).split("\0")[:-1] if self.log.exists() else []
        found, at = [], 0
        while at < len(held):
            end = at + 1 + int(held[at])
            found.append(held[at + 1 : end])
            at = end
        return found

    def forget(self):
        """Forget what was asked."""
        self.log.unlink(missing_ok=True)
        self.marks.unlink(missing_ok=True)
