#!/usr/bin/env bash
# plan-diff.sh FLEET BASE TIME_LIMIT: the plan of a fleet file as Markdown, with what changes against
# the plan of the same file at the git revision BASE. Exits as `kvplace plan` does.
set -uo pipefail
fleet=$1 base=$2 limit=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

kvplace plan "$fleet" --quiet --time-limit "$limit" --format json --output "$work/new.json" \
  2> "$work/errors"
code=$?
if [ "$code" -ne 0 ] && [ "$code" -ne 5 ]; then
  echo "## No plan for \`$fleet\`"
  printf '\n```text\n%s\n```\n' "$(cat "$work/errors")"
  exit "$code"
fi
baseline=()
if git show "$base:./$fleet" > "$work/${fleet##*/}" 2> /dev/null &&
  kvplace plan "$work/${fleet##*/}" --quiet --time-limit "$limit" --format json \
    --output "$work/old.json" 2> /dev/null; [ -f "$work/old.json" ]; then
  baseline=(--baseline "$work/old.json")
fi
kvplace report "$work/new.json" "${baseline[@]}" --quiet --markdown - || exit
exit "$code"
