"""Whether the gateway of a state folder lives: for a container's HEALTHCHECK, `python -m gateway.cli.health`."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from gateway.cli.exits import EXIT_FAILED, EXIT_OK, complain
from gateway.process.address import find

PATIENCE = 3.0


def main() -> int:
    """0 when it answers; 1 when none runs, or its loop does not turn."""
    address = find(Path(os.environ.get("GATEWAY_STATE_DIR", ".gateway")))
    if address is None:
        complain("none runs with this state folder, or it is not ready yet")
        return EXIT_FAILED
    try:
        with urlopen(f"{address}/healthz", timeout=PATIENCE):  # noqa: S310 - the address is the gateway's own
            return EXIT_OK
    except (URLError, TimeoutError) as error:
        complain(f"{address} does not answer: {error}")
        return EXIT_FAILED


if __name__ == "__main__":
    raise SystemExit(main())
