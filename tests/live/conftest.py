"""Options of the live checks: `pytest tests/live --server URL [--token T]`. Without --server there are none."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from tests.live.visitor import Installation


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--server", metavar="URL", help="the running server to check, e.g. http://localhost:8010")
    parser.addoption("--token", metavar="T", help="sent as 'Authorization: Bearer T'")
    parser.addoption("--patience", type=float, default=10.0, metavar="S", help="seconds to wait for media (10)")


def server_url(config: pytest.Config) -> str:
    return str(config.getoption("--server", default=None) or "").rstrip("/")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if collection_path.name.startswith("test_") and not server_url(config) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not server_url(config) and any("live" in argument for argument in config.args):
        terminalreporter.write_line("The live checks need a running server: pytest tests/live --server URL [--token T]")


@pytest.fixture(scope="session")
def installation(pytestconfig: pytest.Config) -> Installation:
    """The server under test."""
    token = pytestconfig.getoption("--token", default=None)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Installation(server_url(pytestconfig), headers, float(pytestconfig.getoption("--patience")))


@pytest.fixture(autouse=True)
async def reachable(installation: Installation) -> None:
    """Every check begins by reaching the server at all."""
    try:
        async with (
            aiohttp.ClientSession(headers=installation.headers, timeout=aiohttp.ClientTimeout(10)) as http,
            http.get(installation.url + "/api/config") as response,
        ):
            if response.status == 401:
                pytest.fail("the server wants a token that is right: give --token T", pytrace=False)
            await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        pytest.fail(
            f"{installation.url} does not answer as Eman does ({error!r}): is it running, is the port right, does a "
            "proxy stand in between?",
            pytrace=False,
        )
