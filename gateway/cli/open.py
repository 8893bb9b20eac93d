"""`gateway open`: the page in a browser, signed in by a one-time code, without the admin token being copied anywhere."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path
from typing import Any

from gateway.cli.asking import asked
from gateway.cli.client import Client
from gateway.cli.exits import EXIT_FAILED, EXIT_OK, complain
from gateway.cli.plain import say, say_json


def open_page(config: Path, state_dir: Path, *, only_print: bool, as_json: bool) -> int:
    """Print the page's address and a code, and open it unless told not to. The exit code."""
    opens = not only_print and _has_browser()

    def ask(client: Client) -> int:
        answer = client.call("POST", "/api/v1/sign-in/codes", json.dumps({"same_user": opens}).encode())
        # In the fragment, which a browser keeps to itself: it is in no request, no log and no Referer.
        answer |= {"address": client.address, "link": f"{client.address}/#code={answer['code']}"}
        say_json(answer) if as_json else say(_text(answer))
        # Other users of the machine see with what a browser is started: a code of which they could make use is left to be pasted.
        if only_print or (opens and webbrowser.open(answer["link"] if answer["same_user"] else client.address)):
            return EXIT_OK
        complain("no browser can be started here; open the link in one that reaches this machine")
        return EXIT_FAILED

    return asked(config, state_dir, ask, as_json=as_json)


def _has_browser() -> bool:
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def _text(answer: dict[str, Any]) -> str:
    seconds, whose = round(answer["expires_in_ms"] / 1000), " for you alone" if answer["same_user"] else ""
    return f"link  {answer['link']}\ncode  {answer['code']}\nIt signs in once{whose}, within {seconds} s."
