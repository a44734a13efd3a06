"""``python -m kvplace``: the same as the ``kvplace`` command."""

import sys

from kvplace.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
