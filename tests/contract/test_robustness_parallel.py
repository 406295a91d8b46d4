"""Twenty clients at once: no update is lost on different resources, and one write at a time on the same."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from azure.ai.ml import MLClient
from azure.ai.ml.entities import ManagedOnlineEndpoint
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import ContainerClient

from tests.contract.conftest import Arm, create_endpoint, error_of
from tests.support.emulator_process import EmulatorProcess

CLIENTS = 20


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """Run `work(number)` in all clients, none earlier than the others."""
    barrier = Barrier(CLIENTS)

    def wait_and_work(number: int) -> Any:
        barrier.wait(180)
        return work(number)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(wait_and_work, range(CLIENTS)))


def test_no_update_is_lost_on_different_endpoints(client: MLClient, name: str) -> None:
    def update_often(number: int) -> str:
        own = f"{name}-{number}"
        create_endpoint(client, own)
        for turn in range(3):
            endpoint = client.online_endpoints.get(own)
            endpoint.tags[f"turn-{turn}"] = str(number)
            client.online_endpoints.begin_create_or_update(endpoint).result()
        return own

    names = at_once(update_often)

    found = {own: client.online_endpoints.get(own).tags for own in names}
    assert found == {own: {f"turn-{turn}": str(number) for turn in range(3)} for number, own in enumerate(names)}


def test_of_many_writes_to_one_endpoint_one_at_a_time_is_accepted(
    client: MLClient, emulator: EmulatorProcess, name: str
) -> None:
    create_endpoint(client, name)
    emulator.fail(method="PUT", path=f"{name}$", operation="slow", delay_seconds=3600, count=None)

    def write(number: int) -> str:
        wanted = ManagedOnlineEndpoint(name=name, auth_mode="key", description=str(number))
        try:
            client.online_endpoints.begin_create_or_update(wanted)
        except ResourceExistsError as exc:
            return str(error_of(exc).code)
        return "accepted"

    assert Counter(at_once(write)) == {"accepted": 1, "Conflict": CLIENTS - 1}


def test_of_many_uploads_to_one_blob_one_is_kept_whole(arm: Arm, emulator: EmulatorProcess, name: str) -> None:
    answer = arm.send("POST", f"/codes/{name}/versions/1/startPendingUpload", {})
    url = answer.json()["blobReferenceForConsumption"]["credential"]["sasUri"]
    contents = [bytes([number]) * 500_000 for number in range(CLIENTS)]

    def upload(number: int) -> int | None:
        with ContainerClient.from_container_url(url) as container:
            try:
                container.upload_blob("one", contents[number])
            except ResourceExistsError:
                return None
            return number

    kept = [number for number in at_once(upload) if number is not None]

    assert len(kept) == 1
    with ContainerClient.from_container_url(url) as container:
        assert container.download_blob("one").readall() == contents[kept[0]]


def test_many_versions_of_one_model_are_all_kept(arm: Arm, name: str) -> None:
    answers = at_once(
        lambda number: arm.send("PUT", f"/models/{name}/versions/{number}", {"properties": {"modelUri": f"u{number}"}})
    )

    listed = arm.send("GET", f"/models/{name}/versions?$top=100").json()["value"]
    assert {one.status_code for one in answers} == {201}
    assert {one["properties"]["modelUri"] for one in listed} == {f"u{number}" for number in range(CLIENTS)}
