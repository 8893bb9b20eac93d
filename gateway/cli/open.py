"""`gateway open`: the page in a browser, signed in by a one-time code, without the admin token being copied anywhere."""

from __future__ import annotations

import json
import sys
import webbrowser
from argparse import Namespace
from pathlib import Path

from gateway.cli.client import CallError, Client, UnreachableError
from gateway.cli.exits import EXIT_FAILED, EXIT_OK, complain


def run(given: Namespace, config: Path, state_dir: Path) -> int:
    """Print the page's address and a code, and open it unless told not to. The exit code."""
    try:
        client = Client(config, state_dir.absolute())
        answer = client.call("POST", "/api/v1/sign-in/codes")
    except (CallError, UnreachableError) as error:
        complain(str(error))
        return EXIT_FAILED
    # In the fragment, which a browser keeps to itself: it is in no request, no log and no Referer.
    answer |= {"address": client.address, "link": f"{client.address}/#code={answer['code']}"}
    sys.stdout.write((json.dumps(answer, indent=2) if given.json else _text(answer)) + "\n")
    sys.stdout.flush()
    if not given.print and not webbrowser.open(answer["link"]):
        complain("no browser could be opened here; open the address yourself")
        return EXIT_FAILED
    return EXIT_OK


def _text(answer: dict[str, object]) -> str:
    seconds = round(float(str(answer["expires_in_ms"])) / 1000)
    return f"page  {answer['link']}\ncode  {answer['code']}\nThe code is in the link. It signs in once, within {seconds} s."
