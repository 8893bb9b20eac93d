"""Bundles the page's editor anew: `make vendor`. The same lock makes the same bytes."""

from __future__ import annotations

import sys

from tests.vendor.bundle import VENDORED, bundle

fault = bundle(VENDORED)
if fault:
    sys.exit(f"the editor could not be bundled, and is what it was:\n{fault}")
for file in sorted(VENDORED.iterdir()):
    sys.stdout.write(f"{file.name}: {file.stat().st_size:,} bytes\n")
