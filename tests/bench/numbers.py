"""Summaries of samples."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile (nearest rank) and the two ends."""
    ordered = sorted(samples)
    return {
        "median": round(statistics.median(ordered), 3),
        "p95": round(ordered[math.ceil(0.95 * len(ordered)) - 1], 3),
        "least": round(ordered[0], 3),
        "most": round(ordered[-1], 3),
    }
