"""Keys, tokens and the client secret stay where they are used: nothing that is stored, logged or shown has them."""

import base64
import json
import shutil
import sqlite3
from pathlib import Path
from urllib.parse import quote

import pytest

from rollway.local.stack import Stack
from tests.support.lab import Lab
from tests.support.postgres import Postgres
from tests.support.secret_search import Found, find, secrets_in, texts_of_folder


@pytest.fixture(scope="module")
def secrets(lab: Lab) -> dict[str, str]:
    """The secrets in use while three rollouts were made: one promoted, one that failed, one whose traffic went back."""
    used = lab.folder / "secrets.json"
    lab.use_new_endpoint()
    lab.rollout.rollout["smoke_test"]["headers"] = {"X-Tenant": "header-4711-of-the-smoke-test"}
    promoted = lab.roll_out(remember_answers=used)
    lab.change()
    lab.rollout.online_deployment["environment_variables"]["ANSWERS_WITH"] = "500"
    failed = lab.roll_out(remember_answers=used)
    lab.change()
    lab.emulator.fail(at="container", method="POST", path="/score$", status=500, after=2, count=None)
    aborted = lab.roll_out(remember_answers=used)
    lab.emulator.delete_faults()
    assert [promoted.exit_code, failed.exit_code, aborted.exit_code] == [0, 3, 3], failed.error + aborted.error
    assert "(pinned)" in failed.log
    assert "traffic restored" in aborted.log
    found = {
        f"{name} {number}": secret
        for line in used.read_text().splitlines()
        for number, (name, secret) in enumerate(secrets_in(json.loads(line)))
    }
    header = {"header value": lab.rollout.rollout["smoke_test"]["headers"]["X-Tenant"]}
    keys = lab.rest.workspace(f"onlineEndpoints/{lab.rollout.name}/listKeys", method="POST").json()
    return {**found, **dict(secrets_in(keys)), "client secret": lab.variables["AZURE_CLIENT_SECRET"], **header}


@pytest.fixture(scope="module")
def left_behind(
    lab: Lab,
    stack: Stack,
    postgres: Postgres | None,
    secrets: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A copy of all that the rollouts left outside of Azure; `secrets` is there because it makes them."""
    folder = tmp_path_factory.mktemp("left-behind")
    shutil.copytree(stack.folder / "prefect", folder / "prefect", ignore=shutil.ignore_patterns("*.db*"))
    for path in (stack.folder / "prefect").glob("*.db"):
        with sqlite3.connect(path) as source, sqlite3.connect(folder / "prefect" / path.name) as copy:
            source.backup(copy)
    if postgres is not None and stack.database_url is not None:
        postgres.copy_to_sqlite(stack.database_url, folder / "prefect" / "prefect.db")
    shutil.copy(stack.folder / "prefect-server.log", folder)
    shutil.copy(lab.folder / "emulator" / "emulator.log", folder)
    for log in lab.folder.glob("*.log"):
        shutil.copy(log, folder)
    (folder / "requests.json").write_text(json.dumps(lab.emulator.get("requests")))
    return folder


def test_no_secret_is_stored_logged_or_shown(left_behind: Path, secrets: dict[str, str]) -> None:
    assert {name.partition(" ")[0] for name in secrets} >= {
        "access_token",
        "primaryKey",
        "sasToken",
        "sasUri",
        "client",
        "header",
    }
    assert find(secrets, texts_of_folder(left_behind)) == []


def test_the_search_reads_every_place(left_behind: Path, lab: Lab) -> None:
    places = {found.place for found in find({"name": lab.rollout.name}, texts_of_folder(left_behind))}

    assert {"prefect.db: flow_run", "prefect.db: log", "prefect.db: artifact", "requests.json"} <= places
    assert any(place.endswith(".log") for place in places)


def test_a_secret_that_is_planted_is_found(left_behind: Path, secrets: dict[str, str], tmp_path: Path) -> None:
    planted = shutil.copytree(left_behind, tmp_path / "planted")
    key, token = secrets["primaryKey"], secrets["client secret"]
    with sqlite3.connect(planted / "prefect" / "prefect.db") as database:
        database.execute(
            "UPDATE artifact SET data = json_quote('the key is ' || ? || ' as you see') WHERE rowid = 1", [key]
        )
    result = planted / "prefect" / "storage" / "result"
    result.parent.mkdir(exist_ok=True)
    result.write_text(base64.b64encode(f"pickled {token} here".encode()).decode())
    with (planted / "prefect-server.log").open("a") as log:
        log.write(f"GET /blob?sig={quote(token, safe='')}\n")

    found = find({"key": key, "token": token}, texts_of_folder(planted))

    assert found == [
        Found("token", "prefect-server.log"),
        Found("key", "prefect.db: artifact"),
        Found("token", str(result.relative_to(planted))),
    ]
