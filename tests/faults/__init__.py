"""The fault suite."""

import pytest

# What a line saw when it failed is in its assertion.
pytest.register_assert_rewrite(
    "tests.faults.stage",
    *(
        f"tests.faults.lines_{family}"
        for family in (
            "kill",
            "store",
            "sending",
            "errors",
            "heads",
            "endpoints",
            "pool",
            "breakers",
            "oracle",
            "refusals",
            "process",
        )
    ),
)
