"""A gateway of another host: `python -m tests.real.another_host` takes what `python -m gateway run` takes.

What makes a host here is the one thing that gateways of one machine share, the file of the accounts' locks: this one's is in
its working folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gateway.__main__ import main
from gateway.process import claims

if __name__ == "__main__":
    claims.Claims.__init__.__defaults__ = (-1, (Path.cwd(),))
    sys.exit(main())
