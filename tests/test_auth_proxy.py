"""The nginx configuration of docs/operations.md, as it stands there, in front of the real application."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server import Server
from tests.conftest import Serve
from tests.offers import real_offer

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
OPERATIONS = Path(__file__).parent.parent / "docs" / "operations.md"
pytestmark = pytest.mark.skipif(NGINX is None or shutil.which("openssl") is None, reason="needs nginx and openssl")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def documented(folder: Path, backend: str, port: int) -> str:
    """The documented example with our ports and certificate, and what nginx wants around it."""
    match = re.search(r"```nginx\n(.*?)```", OPERATIONS.read_text(encoding="utf-8"), re.S)
    assert match
    example = match.group(1).replace("http://127.0.0.1:8010", backend).replace("listen 443 ssl", f"listen {port} ssl")
    example = example.replace("listen 80;", f"listen {free_port()};")
    example = re.sub(r"/etc/letsencrypt/live/avatar.example.org", str(folder), example)
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    head = f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\n"
    return f"{head}http {{\naccess_log off;\n{paths}{example}}}\n"


@contextlib.asynccontextmanager
async def proxied(server: Server, folder: Path) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """The proxy's URL, and a client that takes its certificate."""
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=avatar.example.org"]
    made += ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    await asyncio.to_thread(subprocess.run, made, check=True, capture_output=True)
    port = free_port()
    (folder / "nginx.conf").write_text(documented(folder, server.url, port))
    process = subprocess.Popen([str(NGINX), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    try:
        # from another address than the proxy's own, which is trusted
        connector = aiohttp.TCPConnector(ssl=trusting, local_addr=("127.0.0.2", 0))
        async with aiohttp.ClientSession(connector=connector) as http:
            async with asyncio.timeout(10):
                while True:
                    assert process.poll() is None, (folder / "error.log").read_text()
                    with contextlib.suppress(aiohttp.ClientConnectionError):
                        async with http.get(f"https://127.0.0.1:{port}/healthz"):
                            break
                    await asyncio.sleep(0.05)
            yield f"https://127.0.0.1:{port}", http
    finally:
        process.terminate()
        process.wait(10)


async def posted(http: aiohttp.ClientSession, url: str, body: dict[str, Any], **headers: str) -> tuple[int, Any]:
    async with http.post(url, data=json.dumps(body), headers=headers) as response:
        return response.status, await response.json()


async def test_k1_behind_the_documented_nginx_pages_sockets_and_streams_work(serving: Serve, tmp_path: Path) -> None:
    rules = {"server__trusted_proxies": "[127.0.0.1]", "auth__enabled": "true"}
    async with serving(**rules) as server, proxied(server, tmp_path) as (url, http):
        offer = {"sdp": await real_offer(), "type": "offer"}
        status, answer = await posted(http, url + "/offer", offer, Origin=url)
        assert (status, answer["type"]) == (200, "answer")
        plain = url.replace("https", "http")
        for foreign in (plain, "https://evil.example", "null"):
            status, refusal = await posted(http, url + "/offer", offer, Origin=foreign)
            assert (status, refusal["error"]) == (403, "origin_refused")
        async with http.ws_connect(url + "/ws", headers={"Origin": url}) as line:
            await line.send_json({"type": "login", "session_id": answer["sessionid"], "token": answer["token"]})
            assert (await line.receive_json(timeout=5))["type"] == "login_success"
        query = {"sessionid": answer["sessionid"], "token": answer["token"]}
        async with http.get(url + "/sse", params=query) as stream:
            assert stream.content_type == "text/event-stream"


async def test_k1_behind_the_documented_nginx_nobody_is_the_local_admin(serving: Serve, tmp_path: Path) -> None:
    for rules in ({"server__trusted_proxies": "[127.0.0.1]"}, {}):
        folder = tmp_path / str(len(rules))
        folder.mkdir()
        async with serving(**rules) as server, proxied(server, folder) as (url, http):
            for host in ("127.0.0.1", "localhost", url.removeprefix("https://")):
                async with http.get(url + "/api/admin/sessions", headers={"Host": host}) as response:
                    assert response.status == 401


async def test_k1_a_made_up_address_in_front_of_the_documented_nginx_does_not_count(
    serving: Serve, tmp_path: Path
) -> None:
    rules = {"server__trusted_proxies": "[127.0.0.1]", "limits__offers_per_minute": "2"}
    async with serving(**rules) as server, proxied(server, tmp_path) as (url, http):
        answers = [
            (await posted(http, url + "/offer", {}, **{"X-Forwarded-For": f"203.0.113.{number}"}))[0]
            for number in range(4)
        ]
        assert answers == [200, 200, 429, 429]
