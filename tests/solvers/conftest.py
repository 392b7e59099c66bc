"""The array libraries whose values can be read."""

from __future__ import annotations

import pytest


@pytest.fixture
def values(library):
    if not library.has_values:
        pytest.skip("these tools read numbers back")
    return library
