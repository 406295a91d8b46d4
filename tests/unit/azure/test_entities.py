"""Kind and identities are read alike from a file and from Azure."""

from typing import Any

import pytest
from azure.ai.ml.entities import (
    IdentityConfiguration,
    KubernetesOnlineEndpoint,
    ManagedIdentityConfiguration,
    ManagedOnlineEndpoint,
    OnlineEndpoint,
)

from rollway.azure.entities import identities_of, kind_of
from rollway.azure.folder import load_folder
from tests.support.builders import RolloutFolder

FIRST, SECOND = "/subscriptions/s/First", "/subscriptions/s/Second"


def of(kind: str, *assigned: dict[str, Any]) -> OnlineEndpoint:
    identities = [ManagedIdentityConfiguration(**one) for one in assigned]
    return ManagedOnlineEndpoint(
        name="any", identity=IdentityConfiguration(type=kind, user_assigned_identities=identities or None)
    )


@pytest.mark.parametrize(
    ("entity", "identities"),
    [
        (ManagedOnlineEndpoint(name="any"), ()),
        (of("system_assigned"), ("system_assigned",)),
        (of("user_assigned", {"resource_id": SECOND}, {"resource_id": FIRST}), (FIRST.lower(), SECOND.lower())),
        (of("user_assigned", {"resource_id": FIRST}, {"client_id": "x"}), ()),
    ],
    ids=["not said", "system", "two of the user's", "one without its id"],
)
def test_identities_are_listed_and_none_if_one_is_unknown(entity: OnlineEndpoint, identities: tuple[str, ...]) -> None:
    assert identities_of(entity) == identities


def test_a_kubernetes_endpoint_is_distinguished_from_a_managed_one() -> None:
    assert kind_of(KubernetesOnlineEndpoint(name="any", compute="cluster")) == "kubernetes"
    assert kind_of(ManagedOnlineEndpoint(name="any")) == "managed"


def test_kind_location_and_identities_are_read_from_the_file(folder: RolloutFolder) -> None:
    plain = load_folder(str(folder.path)).endpoint
    folder.change(
        "endpoint.yml",
        compute="azureml:cluster",
        location="westeurope",
        identity={"type": "user_assigned", "user_assigned_identities": [{"resource_id": FIRST}]},
    )

    said = load_folder(str(folder.path)).endpoint

    assert (plain.kind, plain.location, plain.identities) == ("managed", None, ())
    assert (said.kind, said.location, said.identities) == ("kubernetes", "westeurope", (FIRST.lower(),))
