"""The ``mesoface`` command."""

from __future__ import annotations

import os
import sys

# Waiting threads sleep, so that their core is free for others; products of small matrices gain nothing
# from two cores. Both variables are read once, when numpy and torch are loaded.
_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    """Run the command line; see :func:`mesoface.cli.app.main`."""
    for name, value in _THREADS.items():
        os.environ.setdefault(name, value)
    try:
        from mesoface.cli.app import main as run
    except ImportError as error:
        from mesoface.errors import NATIVE_PACKAGES, missing_package

        if (error.name or "").partition(".")[0] not in NATIVE_PACKAGES:
            raise
        print(f"error: {missing_package(error)}", file=sys.stderr)
        sys.exit(2)
    run()
