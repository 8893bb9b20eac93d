"""How many examples are tried: few in the suite, many times as many with `make fuzz TIMES=50`.

A failing example is printed shrunk, with the `@reproduce_failure` line that runs it again.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

TIMES = int(os.environ.get("FUZZ_TIMES", "1"))


def tries(examples: int, **more: object) -> settings:
    """Settings for a test that tries so many examples in the suite. Nothing is kept between runs, nothing is timed."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=examples * TIMES,
        deadline=None,
        database=None,
        print_blob=True,
        derandomize=False,
        # Not "explain": it traces every line, and a failure would be reported by its timeout.
        phases=[Phase.explicit, Phase.generate, Phase.target, Phase.shrink],
        suppress_health_check=slow,
        **more,  # type: ignore[arg-type]
    )
