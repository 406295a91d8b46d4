"""Models, environments and codes through azure-ai-ml."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.constants import ListViewType
from azure.ai.ml.entities import BuildContext, Environment, Model
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

from tests.contract.conftest import Arm


def register(client: MLClient, name: str, folder: Path, content: str, version: str | None = None) -> Model:
    path = folder / "model.txt"
    path.write_text(content)
    made: Model = client.models.create_or_update(Model(name=name, path=str(path), version=version))
    return made


def test_a_model_without_a_version_gets_the_next_one(client: MLClient, name: str, tmp_path: Path) -> None:
    first, second = (register(client, name, tmp_path, content) for content in ("a", "b"))

    assert (first.version, second.version) == ("1", "2")
    assert str(first.path).endswith("/model.txt")


def test_latest_is_the_version_created_last_not_the_highest(client: MLClient, name: str, tmp_path: Path) -> None:
    register(client, name, tmp_path, "a", version="10")
    register(client, name, tmp_path, "b", version="9")

    assert client.models.get(name, label="latest").version == "9"
    assert [one.version for one in client.models.list(name)] == ["9", "10"]


def test_an_uploaded_model_comes_back_byte_for_byte(client: MLClient, name: str, tmp_path: Path) -> None:
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    content = bytes(range(256)) * 5000
    (tmp_path / "folder" / "sub" / "weights.bin").write_bytes(content)
    client.models.create_or_update(Model(name=name, path=str(tmp_path / "folder"), version="1"))

    client.models.download(name, "1", download_path=str(tmp_path / "down"))

    found = next((tmp_path / "down").rglob("weights.bin")).read_bytes()
    assert hashlib.sha256(found).digest() == hashlib.sha256(content).digest()


def test_the_content_of_a_version_cannot_change(client: MLClient, name: str, tmp_path: Path) -> None:
    register(client, name, tmp_path, "a", version="1")

    with pytest.raises(Exception, match="already exists") as caught:
        register(client, name, tmp_path, "b", version="1")

    assert not isinstance(caught.value, AssertionError)
    assert client.models.get(name, "1").path


def test_tags_of_a_version_can_change(client: MLClient, name: str, tmp_path: Path) -> None:
    registered = register(client, name, tmp_path, "a", version="1")
    registered.tags = {"stage": "production"}

    client.models.create_or_update(registered)

    assert client.models.get(name, "1").tags == {"stage": "production"}


def test_an_archived_model_hides_all_its_versions_until_it_is_restored(
    client: MLClient, name: str, tmp_path: Path
) -> None:
    for version, stage in (("1", "Production"), ("2", "Development")):
        (tmp_path / "weights.txt").write_text(version)
        model = Model(name=name, version=version, path=str(tmp_path / "weights.txt"), stage=stage)
        client.models.create_or_update(model)

    def listed(**keywords: Any) -> list[str]:
        return [str(one.version) for one in client.models.list(name, **keywords)]

    by_stage = listed(stage="Production")
    client.models.archive(name)
    client.models.restore(name, version="1")  # has no effect while the model itself is archived
    hidden, archived = listed(), listed(list_view_type=ListViewType.ARCHIVED_ONLY)
    names = {one.name for one in client.models.list()}
    still_used = client.models.get(name, "2")
    client.models.restore(name)

    assert (by_stage, hidden, archived) == (["1"], [], ["2", "1"])
    assert name not in names
    assert still_used.version == "2"
    assert listed() == ["2", "1"]
    assert name in {one.name for one in client.models.list()}
    assert client.models.get(name, label="latest").version == "2"


def test_an_archived_version_is_not_the_latest(client: MLClient, name: str, tmp_path: Path) -> None:
    for content in ("a", "b"):
        register(client, name, tmp_path, content)

    client.models.archive(name, version="2")

    assert client.models.get(name, label="latest").version == "1"


def test_an_unknown_model_is_a_404(client: MLClient, name: str) -> None:
    with pytest.raises(ResourceNotFoundError, match="ModelNotFound"):
        client.models.get(name, label="latest")


def test_an_unknown_version_is_a_404(client: MLClient, name: str, tmp_path: Path) -> None:
    register(client, name, tmp_path, "a")

    with pytest.raises(ResourceNotFoundError, match=f"{name}:7"):
        client.models.get(name, "7")


def test_a_page_of_one_leads_to_the_next_page(client: MLClient, arm: Arm, name: str, tmp_path: Path) -> None:
    for content in ("a", "b"):
        register(client, name, tmp_path, content)

    first = arm.send("GET", f"/models/{name}/versions?$orderBy=createdtime desc&$top=1").json()
    second = arm.http.get(first["nextLink"]).json()

    assert [one["name"] for one in (*first["value"], *second["value"])] == ["2", "1"]
    assert "nextLink" not in second


def test_ids_ignore_case_and_keep_the_callers(client: MLClient, arm: Arm, name: str, tmp_path: Path) -> None:
    register(client, f"Mixed-{name}", tmp_path, "a")

    found = arm.send("GET", f"/MODELS/mixed-{name.upper()}/VERSIONS/1").json()

    assert found["id"].endswith(f"/models/Mixed-{name}/versions/1")


def test_an_environment_is_registered_once_for_the_same_content(client: MLClient, name: str) -> None:
    def wanted() -> Environment:
        return Environment(name=name, version="1", image="docker.io/library/python:3.11")

    first = client.environments.create_or_update(wanted())
    again = client.environments.create_or_update(wanted())

    assert (first.id, first.creation_context.created_at) == (again.id, again.creation_context.created_at)


def test_an_environment_version_cannot_get_another_image(client: MLClient, name: str) -> None:
    client.environments.create_or_update(Environment(name=name, version="1", image="one"))

    with pytest.raises(ResourceExistsError, match="register a new version"):
        client.environments.create_or_update(Environment(name=name, version="1", image="two"))


def test_a_build_context_is_uploaded(client: MLClient, name: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM docker.io/library/python:3.11\n")

    created = client.environments.create_or_update(
        Environment(name=name, version="1", build=BuildContext(path=str(tmp_path)))
    )

    assert "/LocalUpload/" in created.build.path


def test_a_code_hash_that_nobody_uploaded_is_an_empty_list(arm: Arm, name: str) -> None:
    answer = arm.send("GET", f"/codes/{name}/versions?hash=0000&hashVersion=202208")

    assert (answer.status_code, answer.json()) == (200, {"value": []})


def test_a_code_is_found_by_its_hash_under_any_name(arm: Arm, name: str) -> None:
    properties = {"codeUri": "https://x/y", "properties": {"hash_sha256": name, "hash_version": "202208"}}
    arm.send("PUT", f"/codes/{name}/versions/1", {"properties": properties}).raise_for_status()

    found = arm.send("GET", f"/codes/other/versions?hash={name}&hashVersion=202208").json()["value"]

    assert [one["id"].rsplit("/", 3)[1] for one in found] == [name]
