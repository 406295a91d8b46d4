"""The emulator is no way into the machine: what it refuses."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rollway.emulator.blob.blobs import Blobs
from rollway.emulator.core.clock import Clock
from rollway.emulator.core.errors import EmulatedError
from rollway.emulator.core.store import Store
from tests.contract.conftest import Arm
from tests.support.emulator_process import REPOSITORY, EmulatorProcess, own_environment, running_emulator

ANYWHERE = "0.0.0.0"  # noqa: S104 - to see that it is refused
SECRET = "a secret of some length"


def start(folder: Path, *arguments: str, secret: str = "") -> subprocess.CompletedProcess[str]:
    """Return the error of a start that is refused."""
    command = [sys.executable, "-m", "rollway.emulator", "up", "--state", str(folder), *arguments]
    variables = {**own_environment(), "ROLLWAY_EMULATOR_SECRET": secret}
    return subprocess.run(
        command, env=variables, capture_output=True, text=True, check=False, timeout=180, cwd=REPOSITORY
    )


@pytest.mark.parametrize(
    ("arguments", "secret", "reason"),
    [
        (("--host", ANYWHERE), "", "Set --public-name"),
        (("--host", ANYWHERE, "--public-name", "build-host"), "", "Set ROLLWAY_EMULATOR_SECRET"),
        (("--host", ANYWHERE, "--public-name", "build-host"), "too short", "at least 16 characters"),
        (("--host", ANYWHERE), SECRET, "Set --public-name"),
        (("--host", "everywhere"), "", "'everywhere' is not an IPv4 address"),
    ],
)
def test_it_does_not_listen_off_loopback_unasked_or_without_a_secret(
    tmp_path: Path, arguments: tuple[str, ...], secret: str, reason: str
) -> None:
    refused = start(tmp_path, *arguments, secret=secret)

    assert (refused.returncode, reason in refused.stderr) == (2, True), refused.stderr
    assert not (tmp_path / "emulator.sqlite").exists()


def test_it_listens_on_loopback_only(emulator: EmulatorProcess) -> None:
    port = urlsplit(emulator.url).port
    listening = Path(f"/proc/{emulator.pid}/net/tcp").read_text().splitlines()[1:]

    addresses = {line.split()[1] for line in listening if line.split()[1].endswith(f":{port:04X}")}

    assert {address.partition(":")[0] for address in addresses} == {"0100007F"}  # 127.0.0.1


@pytest.fixture
def exposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorProcess]:
    """An emulator for other machines; on an address of the loopback network, so that none of them can reach it."""
    monkeypatch.setenv("ROLLWAY_EMULATOR_SECRET", SECRET)
    with running_emulator(tmp_path, "--host", "127.0.0.2", "--public-name", "127.0.0.2") as running:
        yield running


def test_with_a_secret_nobody_controls_it_without(exposed: EmulatorProcess) -> None:
    health = f"{exposed.url}/_emulator/health"
    with exposed.http() as http:
        bare = http.get(health)
        wrong = http.get(health, headers={"Authorization": "Bearer wrong"})
        right = http.get(health, headers={"Authorization": f"Bearer {SECRET}"})
        browser = http.get(health, auth=("anybody", SECRET))
        broken = http.get(health, headers={"Authorization": "Basic ~"})
        page = http.get(exposed.url)

    answers = (bare, wrong, right, browser, broken, page)
    assert [one.status_code for one in answers] == [401, 401, 200, 200, 401, 401]
    assert exposed.url.startswith("https://127.0.0.2:")
    assert SECRET not in json.dumps(exposed.environment)


def test_a_request_for_another_host_name_is_refused(emulator: EmulatorProcess) -> None:
    port = urlsplit(emulator.url).port
    with emulator.http() as http:
        answers = [
            http.get(f"{emulator.url}/_emulator/health", headers={"Host": host})
            for host in (f"attacker.example:{port}", "localhost", f"localhost:{port}", f"127.0.0.1:{port}")
        ]

    assert [one.status_code for one in answers] == [400, 400, 200, 200]
    assert answers[0].json()["error"]["code"] == "InvalidHostName"


def test_a_page_of_another_origin_cannot_control_it(emulator: EmulatorProcess) -> None:
    with emulator.http() as http:
        answers = [
            http.delete(f"{emulator.url}/_emulator/faults", headers={"Origin": origin})
            for origin in ("https://attacker.example", "null", emulator.url)
        ]

    assert [one.status_code for one in answers] == [403, 403, 204]


@pytest.fixture
def container(arm: Arm, name: str) -> tuple[str, str]:
    """URL and signature of a fresh blob container."""
    answer = arm.send("POST", f"/codes/{name}/versions/1/startPendingUpload", {})
    url, _, query = str(answer.json()["blobReferenceForConsumption"]["credential"]["sasUri"]).partition("?")
    return url, query


BAD_NAMES = [
    "%2e%2e/%2e%2e/etc/passwd",
    "a/%2e%2e/%2e%2e/b",
    "a/%2e/b",
    "a//b",
    "%2Fetc/passwd",
    "a/",
    "a%00b",
    "a%0Ab",
    "x" * 256,
    "/".join(["xxxxxxxxx"] * 103),
]


@pytest.mark.parametrize("bad", BAD_NAMES)
def test_an_upload_under_a_name_that_leaves_its_folder_is_refused(
    emulator: EmulatorProcess, container: tuple[str, str], bad: str
) -> None:
    url, query = container
    with emulator.http() as http:
        put = http.put(f"{url}/{bad}?{query}", headers={"x-ms-blob-type": "BlockBlob"}, content=b"x")
        listed = http.get(f"{url}?restype=container&comp=list&{query}")

    assert (put.status_code, put.headers.get("x-ms-error-code")) == (400, "InvalidUri")
    assert "<Blob>" not in listed.text


def test_an_upload_lands_below_the_state_folder_only(
    emulator: EmulatorProcess, container: tuple[str, str], tmp_path: Path
) -> None:
    url, query = container
    with emulator.http() as http:
        put = http.put(
            f"{url}/..%5C..%5Cevil.txt?{query}", headers={"x-ms-blob-type": "BlockBlob"}, content=b"marker-1789"
        )

    written = [path for path in (emulator.folder / "blobs").iterdir() if path.read_bytes() == b"marker-1789"]
    assert put.status_code == 201
    assert [path.parent for path in written] == [emulator.folder / "blobs"]


@pytest.mark.parametrize("script", ["../../../etc/passwd", "/etc/passwd", "a/../../b.py"])
def test_a_scoring_script_outside_the_code_is_refused(arm: Arm, name: str, script: str) -> None:
    arm.send("PUT", f"/onlineEndpoints/{name}", {"location": "westeurope", "properties": {"authMode": "Key"}})
    properties = {"instanceType": "Standard_DS3_v2", "codeConfiguration": {"codeId": "x", "scoringScript": script}}

    answer = arm.send(
        "PUT",
        f"/onlineEndpoints/{name}/deployments/blue",
        {"location": "westeurope", "sku": {"capacity": 1}, "properties": properties},
    )

    assert answer.status_code == 400
    assert "must be a path inside the code folder." in answer.text


@pytest.mark.parametrize("bad", ["%2e%2e", "%2e", "a%00b", "a%5Cb", "a%0d%0aX-Evil:1", "x" * 300])
def test_an_asset_under_a_name_that_leaves_its_folder_is_refused(arm: Arm, bad: str) -> None:
    answer = arm.send("PUT", f"/models/{bad}/versions/1", {"properties": {"modelUri": "x"}})

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("InvalidResourceName", "InvalidUri")


def test_a_huge_body_is_refused_before_it_is_sent(emulator: EmulatorProcess, container: tuple[str, str]) -> None:
    url, query = container
    huge = {"Content-Length": str(6 * 1024**3), "x-ms-blob-type": "BlockBlob"}

    status = send_raw(emulator, "PUT", f"{urlsplit(url).path}/big?{query}", huge)[:12]

    assert status == b"HTTP/1.1 413"


def test_a_body_that_grows_beyond_arms_limit_is_refused(arm: Arm, emulator: EmulatorProcess, name: str) -> None:
    def grow() -> Iterator[bytes]:
        for _ in range(9):
            yield b" " * 500_000

    login = f"{emulator.url}/{emulator.environment['AZURE_TENANT_ID']}/oauth2/v2.0/token"
    urls = [f"{arm.url}{arm.root}/onlineEndpoints/{name}?api-version=2023-04-01", login]
    answers = [arm.http.request("PUT" if url != login else "POST", url, content=grow()) for url in urls]
    answers.append(arm.http.post(f"{emulator.url}/_emulator/faults", content=grow()))

    assert [one.status_code for one in answers] == [413, 413, 413]


async def chunks(*parts: bytes | Exception) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        yield part


@pytest.mark.parametrize("parts", [(b"12345", b"67890"), (b"1", ConnectionError("gone"))])
def test_nothing_is_left_of_an_upload_that_is_too_large_or_breaks_off(
    tmp_path: Path, parts: tuple[bytes | Exception, ...]
) -> None:
    store = Store(tmp_path / "state.sqlite")
    blobs = Blobs(store, tmp_path / "blobs", "key", Clock(), "https://localhost:1")

    with pytest.raises((EmulatedError, ConnectionError)):
        asyncio.run(blobs.write(chunks(*parts), limit_bytes=9))

    assert list((tmp_path / "blobs").iterdir()) == []
    store.close()


def test_entities_in_a_block_list_do_not_grow(emulator: EmulatorProcess, container: tuple[str, str]) -> None:
    url, query = container
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE b [<!ENTITY e0 "xxxxxxxxxx">{entities}]><BlockList><Latest>&e11;</Latest></BlockList>'

    with emulator.http() as http:
        answer = http.put(f"{url}/a?comp=blocklist&{query}", content=bomb)

    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (400, "InvalidBlockList")


@pytest.mark.parametrize("wanted", ["bytes=5-2", "bytes=-1", "bytes=²-³", "bytes=0-1,2-3", "bytes=9999-", "x" * 5000])
def test_a_strange_range_is_refused(emulator: EmulatorProcess, container: tuple[str, str], wanted: str) -> None:
    url, query = container
    with emulator.http() as http:
        http.put(f"{url}/a?{query}", headers={"x-ms-blob-type": "BlockBlob"}, content=b"0123456789")
        answer = http.get(f"{url}/a?{query}", headers={b"x-ms-range": wanted.encode("latin-1")})

    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (416, "InvalidRange")


def test_two_lengths_of_one_body_are_refused(emulator: EmulatorProcess) -> None:
    """A second request hidden in the body of the first would be answered too."""
    host = urlsplit(emulator.url).netloc
    hidden = f"GET /metadata/endpoints HTTP/1.1\r\nHost: {host}\r\n\r\n"
    answer = send_raw(
        emulator, "POST", "/_emulator/faults", {"Content-Length": "4", "Transfer-Encoding": "chunked"}, hidden
    )

    assert answer.count(b"HTTP/1.1") == 1
    assert answer.startswith(b"HTTP/1.1 400")


def test_what_a_client_stores_cannot_become_a_header_of_its_own(
    emulator: EmulatorProcess, container: tuple[str, str]
) -> None:
    url, query = container
    smuggled = f"PUT {urlsplit(url).path}/a?{query}"
    answer = send_raw(
        emulator, "PUT", smuggled.removeprefix("PUT "), {"x-ms-meta-a": "b\rX-Evil: 1", "Content-Length": "0"}
    )

    assert b"X-Evil" not in answer
    assert answer.startswith(b"HTTP/1.1 400")


def send_raw(emulator: EmulatorProcess, method: str, target: str, headers: dict[str, str], body: str = "") -> bytes:
    """Bytes as no client library would send them, and all that comes back until the connection is idle or closed."""
    where = urlsplit(emulator.url)
    lines = [f"{method} {target} HTTP/1.1", f"Host: {where.netloc}", *(f"{k}: {v}" for k, v in headers.items())]
    with (
        socket.create_connection(("127.0.0.1", where.port or 0), timeout=120) as plain,
        emulator.tls.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall("\r\n".join([*lines, "Connection: close", "", body]).encode("latin-1"))
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


def test_files_of_the_state_are_for_their_owner_only(emulator: EmulatorProcess) -> None:
    paths = [emulator.folder / name for name in ("emulator.sqlite", "blobs", "tls/server.pem")]

    assert [oct(path.stat().st_mode & 0o077) for path in paths] == ["0o0", "0o0", "0o0"]
    assert emulator.folder.stat().st_uid == os.getuid()


def test_requests_without_a_token_see_nothing(emulator: EmulatorProcess, arm: Arm) -> None:
    with emulator.http() as http:
        answers = [
            http.get(f"{arm.url}{arm.root}{path}?api-version=2023-04-01")
            for path in ("", "/models", "/onlineEndpoints", "/datastores/workspaceblobstore")
        ]

    assert [one.status_code for one in answers] == [401] * 4


@pytest.mark.parametrize("body", [b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "\\ud800"}', b'{"a":' * 9000, b"\xff", b"[]"])
def test_bodies_that_cannot_be_answered_as_json_are_refused(arm: Arm, name: str, body: bytes) -> None:
    url = f"{arm.url}{arm.root}/onlineEndpoints/{name}?api-version=2023-04-01"

    answer = arm.http.put(url, content=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidRequestContent")
