"""What all tests share: how hard hypothesis tries.

``HYPOTHESIS_PROFILE=thorough make test`` tries other examples on each run, and many more of them.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# The same examples on each run, so that a red test is red for everybody; no deadline, for machines that are busy.
settings.register_profile(
    "default", derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough", deadline=None, max_examples=3000, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
