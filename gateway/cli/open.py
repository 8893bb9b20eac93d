"""`gateway open`: the page in a browser, signed in by a one-time code, without the admin token being copied anywhere."""

from __future__ import annotations

import json
import sys
import webbrowser
from argparse import Namespace
from pathlib import Path
from typing import Any

from gateway.cli.client import CallError, Client, UnreachableError
from gateway.cli.exits import EXIT_FAILED, EXIT_OK, complain


def run(given: Namespace, config: Path, state_dir: Path) -> int:
    """Print the page's address and a code, and open it unless told not to. The exit code."""
    opens = not given.print and _has_browser()
    try:
        client = Client(config, state_dir.absolute())
        answer = client.call("POST", "/api/v1/sign-in/codes", json.dumps({"same_user": opens}).encode())
    except (CallError, UnreachableError) as error:
        complain(str(error))
        return EXIT_FAILED
    # In the fragment, which a browser keeps to itself: it is in no request, no log and no Referer.
    answer |= {"address": client.address, "link": f"{client.address}/#code={answer['code']}"}
    sys.stdout.write((json.dumps(answer, indent=2) if given.json else _text(answer)) + "\n")
    sys.stdout.flush()
    if given.print:
        return EXIT_OK
    # Other users of the machine see with what a browser is started: a code of which they could make use is left to be pasted.
    if opens and webbrowser.open(answer["link"] if answer["same_user"] else client.address):
        return EXIT_OK
    complain("no browser can be started here; open the link in one that reaches this machine")
    return EXIT_FAILED


def _has_browser() -> bool:
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def _text(answer: dict[str, Any]) -> str:
    seconds, whose = round(answer["expires_in_ms"] / 1000), " for you alone" if answer["same_user"] else ""
    return f"link  {answer['link']}\ncode  {answer['code']}\nIt signs in once{whose}, within {seconds} s."
