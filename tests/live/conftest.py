"""Options of the live checks: `pytest tests/live --server URL [--token T]`. Without --server there are none."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from tests.live.visitor import Installation

USAGE = "The live checks need a running server: pytest tests/live --server URL [--token T] [--admin-token A]"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--server", metavar="URL", help="the running server to check, e.g. http://localhost:8010")
    parser.addoption(
        "--token", metavar="T", help="lets sessions be started where not everybody may: an API key or an access link"
    )
    parser.addoption("--admin-token", metavar="A", help="auth.admin_token: also check what operators use")
    parser.addoption("--patience", type=float, default=10.0, metavar="S", help="seconds to wait for media (10)")


def server_url(config: pytest.Config) -> str:
    return str(config.getoption("--server", default=None) or "").rstrip("/")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if collection_path.name.startswith("test_") and not server_url(config) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not server_url(config) and any("live" in argument for argument in config.args):
        terminalreporter.write_line(USAGE)


@pytest.fixture(scope="session")
def installation(pytestconfig: pytest.Config) -> Installation:
    """The server under test."""
    options = pytestconfig
    token = str(options.getoption("--token", default=None) or "").rpartition("#token=")[2]
    admin = str(options.getoption("--admin-token", default=None) or "")
    return Installation(server_url(options), token, admin, float(options.getoption("--patience")))


@pytest.fixture(autouse=True)
async def reachable(installation: Installation) -> None:
    """Every check begins by reaching the server at all."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as http,
            http.get(installation.url + "/api/config") as response,
        ):
            config = await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        pytest.fail(
            f"{installation.url} does not answer as Eman does ({error!r}): is it running, is the port right, does a "
            "proxy stand in between?",
            pytrace=False,
        )
    if not installation.token and not config.get("data", {}).get("auth", {}).get("open", True):
        pytest.fail(
            "not everybody may start a session here: give --token T, an API key or an access link (app.py token)",
            pytrace=False,
        )


@pytest.fixture
async def operator(installation: Installation) -> Installation:
    """The server under test, where the checks may do what operators do."""
    status, answer = await installation.admin("GET", "/api/admin/sessions")
    if status == 401 and not installation.admin_token:
        pytest.skip("operators only: give --admin-token A")
    if status != 200:
        pytest.fail(f"--admin-token was refused: {answer.get('msg', answer)}", pytrace=False)
    return installation
