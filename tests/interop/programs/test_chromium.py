"""Chromium opens the page of the application, whose scripts fetch, upload, listen to events and speak WebSocket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.app import EVENTS
from tests.interop.origin import Origin
from tests.interop.programs.chromium import chromium

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def results(secure_origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What each check of page.html came to, by its name."""
    with chromium(tmp_path_factory.mktemp("profile"), secure_origin.certificate) as browser:
        yield browser.evaluate(secure_origin.url + "/", "window.results")


def test_everything_went_over_http2(results: dict[str, Any]) -> None:
    """As the browser says of the page and of each fetch, and as the application's scope says."""
    assert results["protocols"] == ["h2"]
    assert results["about"] == "2"


def test_uploads_downloads_and_many_requests_side_by_side(results: dict[str, Any]) -> None:
    assert results["upload"] == "same"
    assert results["download"] == 8 * MEBIBYTE
    assert results["parallel"] == 200


def test_events_come_one_by_one(results: dict[str, Any]) -> None:
    assert results["events"] == list(range(EVENTS))


def test_a_websocket_runs_over_http2_with_compression(results: dict[str, Any]) -> None:
    """The application refuses those of another version on the path that the page opens."""
    extensions = results["websocket"].pop("extensions")
    assert extensions.partition(";")[0] == "permessage-deflate"
    assert results["websocket"] == {"echoes": [True, True, MEBIBYTE], "code": 1000, "wasClean": True}


def test_a_download_that_is_aborted_leaves_the_connection_well(results: dict[str, Any]) -> None:
    assert results["abort"] == "2"
