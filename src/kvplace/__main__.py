"""``python -m kvplace``, and the ``kvplace`` command: what is loaded first."""

import signal
import sys


def run() -> int:
    """Run the command line of this process; Ctrl-C while it is loaded ends it without a word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from kvplace.cli.main import run as begin  # noqa: PLC0415 - what takes long comes after that

    return begin()


if __name__ == "__main__":
    sys.exit(run())
