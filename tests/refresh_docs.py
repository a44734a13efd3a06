"""Writes into the README and the tutorial what their commands print now.

::

    python tests/refresh_docs.py

Where a page shows only the first lines of an output and ``...``, it shows as many afterwards.
"""

import re
import shutil
import tempfile
from pathlib import Path

from test_docs import ASK, MORE, PAGES, ROOT, run_steps


def refreshed(block, directory):
    """Return the console block with the outputs of now."""
    lines = []
    for command, shown, printed, _ in run_steps(block, directory):
        lines.append(f"$ {command}")
        if MORE in shown:
            lines += [*printed[: shown.index(MORE)], MORE]
        else:
            lines += printed
    assert ASK not in lines
    return "\n".join(lines) + "\n"


def main():
    for page in PAGES:
        path = ROOT / page
        with tempfile.TemporaryDirectory() as directory:
            shutil.copytree(ROOT / "examples", Path(directory) / "examples")
            text = re.sub(
                r"^(```console\n)(.*?)^```$",
                lambda found, where=directory: f"{found[1]}{refreshed(found[2], where)}```",
                path.read_text("utf-8"),
                flags=re.MULTILINE | re.DOTALL,
            )
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
