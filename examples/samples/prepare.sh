#!/bin/sh
# Makes the plans that the commands of docs/how-to start from: what runs, and better ones.
set -e
kvplace plan fleet.yaml --quiet --solver prism-greedy --output running.json
kvplace plan fleet.yaml --quiet --output plan.json
kvplace refine fleet.yaml --quiet --start running.json --output refined.json
cp running.json now.json
