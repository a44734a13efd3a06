"""One file per runtime: a layout as the files that it accepts."""
