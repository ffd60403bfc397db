"""What the tests of engines share."""

from collections.abc import Iterator

import pytest

from tests.engines import service as services
from tools.engines import remote


@pytest.fixture
def service() -> Iterator[services.Service]:
    """A service on loopback that does all that ours are asked for."""
    with services.serving() as running:
        yield running


@pytest.fixture
def patience() -> remote.Patience:
    """What no busy machine tries, with pauses that no test has to wait for."""
    return remote.Patience(
        connect=10, read=10, total=20, tries=3, first_pause=0.01, longest_pause=0.3
    )


@pytest.fixture
def haste() -> remote.Patience:
    """What a slow server tries soon."""
    return remote.Patience(connect=1, read=0.4, total=1, first_pause=0.01)
