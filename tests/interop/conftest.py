"""The servers that the clients talk to, one of each kind for a whole file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.origin import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.origin import Origin


@pytest.fixture(scope="module", params=["http", "https"])
def origin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """Without TLS and with it."""
    with serving(request.param, tmp_path_factory.mktemp("origin")) as running:
        yield running


@pytest.fixture(scope="module")
def secure_origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    with serving("https", tmp_path_factory.mktemp("origin")) as running:
        yield running
