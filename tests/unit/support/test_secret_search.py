"""The search for secrets, which has to find them in every disguise that the places use."""

import base64
import sqlite3
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.secret_search import Found, find, secrets_in, texts_of_folder

SECRET = "aB3/+=secret value"


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
def test_a_secret_is_found_in_base64_whatever_stands_before_it(before: str) -> None:
    text = base64.b64encode(f"{before}{SECRET} and more".encode())

    assert find({"key": SECRET}, [("result", text)]) == [Found("key", "result")]


@pytest.mark.parametrize("text", [f"the key is {SECRET}.", f"?sig={quote(SECRET, safe='')}&x=1"])
def test_a_secret_is_found_as_it_is_and_in_a_url(text: str) -> None:
    assert find({"key": SECRET}, [("log", text.encode())]) == [Found("key", "log")]


def test_what_is_not_there_is_not_found() -> None:
    assert find({"key": SECRET}, [("log", b"aB3/+=secret"), ("result", base64.b64encode(b"another value"))]) == []


def test_rows_of_a_database_and_files_are_read(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "prefect.db") as database:
        database.execute("CREATE TABLE artifact (id INTEGER, data TEXT, raw BLOB)")
        database.execute("INSERT INTO artifact VALUES (1, ?, NULL)", [f"long {'x' * 9000} {SECRET}"])
    (tmp_path / "server.log").write_text(f"started with {SECRET}")

    found = find({"key": SECRET}, texts_of_folder(tmp_path))

    assert found == [Found("key", "prefect.db: artifact"), Found("key", "server.log")]


def test_secrets_are_taken_out_of_answers_wherever_they_are() -> None:
    answer = {
        "blobReferenceForConsumption": {"credential": {"sasUri": "https://store/c?sv=1&sig=the%2Bsignature"}},
        "value": [{"primaryKey": "the-key", "name": "not secret"}],
    }

    assert dict(secrets_in(answer)) == {"sasUri": "the+signature", "primaryKey": "the-key"}
