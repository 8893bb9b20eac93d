"""Whose program is at the other end of a connection on this machine: from the table that Linux has of them."""

from __future__ import annotations

import asyncio
import sys
from ipaddress import IPv6Address, ip_address
from pathlib import Path

TABLES = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
LOCAL, REMOTE, USER = 1, 2, 7
"""Columns."""
NOBODY = 65534
"""Who is not known in this process's namespace of users is shown as this one: many may be."""


def owner_of(transport: asyncio.BaseTransport | None) -> int | None:
    """The number of its user. None where the other end is on another machine, in another network of this one, or cannot be seen."""
    if transport is None:
        return None
    here, there = (transport.get_extra_info(name) for name in ("sockname", "peername"))
    if not here or not there:
        return None
    wanted = {(_written(*there[:2], mapped=mapped), _written(*here[:2], mapped=mapped)) for mapped in (False, True)}
    for table in TABLES:
        try:
            lines = table.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for columns in map(str.split, lines[1:]):
            if (columns[LOCAL], columns[REMOTE]) in wanted:
                user = int(columns[USER])
                return None if user == NOBODY else user
    return None


def _written(host: str, port: int, *, mapped: bool) -> str:
    """An address as it stands in the tables: words of 32 bits in the order of this machine. `mapped`: as a socket for IPv6 has an older one."""
    address = ip_address(host.partition("%")[0])
    if mapped and address.version == 4:
        address = IPv6Address(f"::ffff:{address}")
    words = [address.packed[start : start + 4] for start in range(0, len(address.packed), 4)]
    native = [word[::-1] if sys.byteorder == "little" else word for word in words]
    return "".join(word.hex() for word in native).upper() + f":{port:04X}"
