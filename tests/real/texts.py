"""A config as somebody may have written it by hand over the years."""

from __future__ import annotations

from collections.abc import Iterator

HEAD = """\
%%YAML 1.2
---
# The gateway of the house.  Ask before you change it!
#
#   * the accounts are at the end, one block each
#   * times are in ms, unless the key says _s

handlers:            # first, since that is how I like it
  'echo': {type: "echo"}

routes:
    # everything is echoed
    - channel: '*'
      handler: "echo"   # the only one

gateway:
  restart: {cooldown_ms: 0, delay_ms: 2000}
  admin:
    token: "%s"   # not a real one
    port: 0
    writes_per_minute: 0

  name: 'home'   # what the page shows
  reload: {mode: hybrid,   debounce_ms: 300}    # ms

channels:
  webchat:
    accounts:
"""

ACCOUNT = """\

      # --- {name} -----------------------------------------------------------
      # {words}
      {name}:
        allow_from: {friends}
        enabled: false           # not yet: {name}
        stop_timeout_ms: 4_{number:03}   # {name} may take so long
"""

WORDS = (
    "set up by Ann on a rainy day; its owner comes on Tuesdays, and wants to be told before anything is changed here"
)


def by_hand(size: int, token: str) -> str:
    """At least so many bytes: comments, quotes, spaces, an anchor, and accounts until it is long enough."""
    return "".join(_parts(size, token))


def _parts(size: int, token: str) -> Iterator[str]:
    part, length, number = HEAD % token, 0, 0
    while True:
        yield part
        length += len(part.encode())
        if length >= size:
            return
        friends = "&friends [\"*\", '@ann', 5]" if number == 0 else "*friends"
        part = ACCOUNT.format(name=f"n{number}", number=number, friends=friends, words=WORDS[: 40 + number % 70])
        number += 1
