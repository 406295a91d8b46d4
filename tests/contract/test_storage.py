"""Blob storage through azure-storage-blob."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobBlock, ContainerClient

from rollway.emulator.blob.blobs import Blobs
from rollway.emulator.core.clock import Clock
from rollway.emulator.core.errors import EmulatedError
from rollway.emulator.core.store import Store
from rollway.emulator.state import get_or_create_secret
from tests.contract.conftest import Arm
from tests.support.emulator_process import EmulatorProcess


@pytest.fixture
def container_url(arm: Arm, name: str) -> str:
    """A fresh container with its signature, as a code upload gets it."""
    answer = arm.send("POST", f"/codes/{name}/versions/1/startPendingUpload", {})
    return str(answer.json()["blobReferenceForConsumption"]["credential"]["sasUri"])


@pytest.fixture
def container(emulator: EmulatorProcess, container_url: str) -> ContainerClient:
    return ContainerClient.from_container_url(container_url)


def code_of(error: HttpResponseError) -> str:
    """Return the code of a storage error; the client adds it to azure-core's exceptions when it runs."""
    return str(getattr(vars(error)["error_code"], "value", vars(error)["error_code"]))


def test_a_blob_comes_back_with_its_metadata(container: ContainerClient) -> None:
    container.upload_blob("folder/a.txt", b"hello", metadata={"name": "model"})

    blob = container.get_blob_client("folder/a.txt")

    assert blob.download_blob().readall() == b"hello"
    assert (blob.get_blob_properties().metadata, blob.get_blob_properties().size) == ({"name": "model"}, 5)


def test_metadata_can_be_set_later(container: ContainerClient) -> None:
    blob = container.upload_blob("a", b"x")

    blob.set_blob_metadata({"upload_status": "completed"})

    assert blob.get_blob_properties().metadata == {"upload_status": "completed"}


def test_blocks_are_put_together_in_the_order_of_the_list(container: ContainerClient) -> None:
    blob = container.get_blob_client("big")
    for block, content in (("b2", b"world"), ("b1", b"hello ")):
        blob.stage_block(block, content)

    blob.commit_block_list([BlobBlock("b1"), BlobBlock("b2")])

    assert blob.download_blob().readall() == b"hello world"


def test_a_large_blob_is_uploaded_in_blocks_and_read_in_ranges(container: ContainerClient) -> None:
    content = bytes(range(256)) * 40_000
    blob = container.get_blob_client("large")
    blob._config.max_single_put_size = 1024 * 1024

    blob.upload_blob(content)

    assert blob.download_blob().readall() == content
    assert blob.download_blob(offset=1000, length=10).readall() == content[1000:1010]


def test_an_empty_blob_can_be_read(container: ContainerClient) -> None:
    blob = container.upload_blob("empty", b"")

    assert blob.download_blob().readall() == b""


def test_uncommitted_blocks_cannot_be_committed_by_a_wrong_name(container: ContainerClient) -> None:
    blob = container.get_blob_client("b")

    with pytest.raises(HttpResponseError) as caught:
        blob.commit_block_list([BlobBlock("missing")])

    assert code_of(caught.value) == "InvalidBlockList"


def test_an_existing_blob_is_not_overwritten_unasked(container: ContainerClient) -> None:
    container.upload_blob("a", b"1")

    with pytest.raises(ResourceExistsError) as caught:
        container.upload_blob("a", b"2")

    assert code_of(caught.value) == "BlobAlreadyExists"
    assert container.get_blob_client("a").download_blob().readall() == b"1"


def test_a_missing_blob_is_a_404_with_its_code(container: ContainerClient) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        container.get_blob_client("absent").get_blob_properties()

    assert code_of(caught.value) == "BlobNotFound"


def test_blobs_are_listed_by_prefix(container: ContainerClient) -> None:
    for name in ("x/2", "x/1", "y/1"):
        container.upload_blob(name, b"")

    assert [one.name for one in container.list_blobs(name_starts_with="x/")] == ["x/1", "x/2"]


def test_a_deleted_blob_is_gone(container: ContainerClient) -> None:
    blob = container.upload_blob("a", b"")

    blob.delete_blob()

    assert not blob.exists()


def test_a_changed_signature_is_refused(emulator: EmulatorProcess, container_url: str) -> None:
    forged = container_url.replace("sp=racwdl", "sp=racwdlx")

    with pytest.raises(ClientAuthenticationError) as caught:
        ContainerClient.from_container_url(forged).upload_blob("a", b"")

    assert (caught.value.status_code, code_of(caught.value)) == (403, "AuthenticationFailed")


def test_a_signature_is_for_its_container_only(emulator: EmulatorProcess, container_url: str) -> None:
    path, _, query = container_url.partition("?")

    answer = emulator.http().get(f"{path}x/a?{query}")

    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")


def test_a_token_for_storage_opens_blobs_and_one_for_arm_does_not(
    emulator: EmulatorProcess, container: ContainerClient, token: Callable[..., str]
) -> None:
    container.upload_blob("a", b"x")
    url = container.get_blob_client("a").url.partition("?")[0]

    def read(bearer: str) -> httpx.Response:
        return emulator.http().get(url, headers={"Authorization": f"Bearer {bearer}"})

    assert read(token("https://storage.azure.com/.default")).text == "x"
    assert read(token()).status_code == 401


@pytest.mark.parametrize("bad", ["../../etc/passwd", "a/../../b", "a/./b", "a//b"])
def test_a_blob_name_that_leaves_its_folder_is_refused(emulator: EmulatorProcess, container_url: str, bad: str) -> None:
    path, _, query = container_url.partition("?")
    name = bad.replace("..", "%2e%2e").replace("/./", "/%2e/")

    answer = emulator.http().put(f"{path}/{name}?{query}", headers={"x-ms-blob-type": "BlockBlob"}, content=b"x")

    assert answer.status_code in (400, 403), answer.text


def test_signatures_expire_and_allow_only_what_they_say(tmp_path: Path) -> None:
    store, clock = Store(tmp_path / "state.sqlite"), Clock()
    blobs = Blobs(store, tmp_path / "blobs", get_or_create_secret(store, "key"), clock, "https://localhost:1")
    query = dict(httpx.QueryParams(blobs.shared_access_signature("c", "r", 60)))
    blobs.check_signature("c", query, "r")

    with pytest.raises(EmulatedError, match="403 AuthorizationPermissionMismatch"):
        blobs.check_signature("c", query, "cw")
    clock.advance(61)
    with pytest.raises(EmulatedError, match="not valid in the specified time frame"):
        blobs.check_signature("c", query, "r")
    store.close()
