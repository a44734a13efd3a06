"""``python -m kvplace``: the same as the ``kvplace`` command."""

import sys

from kvplace.cli.main import run

if __name__ == "__main__":
    sys.exit(run())
