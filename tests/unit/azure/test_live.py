"""The log of an online deployment, and its answer to a request, asked by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from rollway.azure import live
from rollway.azure.live import read_log, score_once
from rollway.azure.scoring import ROUTING_HEADER
from rollway.azure.session import Session
from rollway.errors import NotFound, RollwayError
from rollway.rollout.state import EndpointState
from rollway.spec import ScoringRequest
from tests.support.fake_azure import FakeAzure, run
from tests.support.scoring import Gateway

REQUEST = ScoringRequest(document={"data": [1]})


@pytest.fixture
def signed_in(azure: FakeAzure, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> FakeAzure:
    """The endpoint `diabetes`, whose online deployment `blue` answers at the gateway; `green` has no traffic."""
    session: Any = azure.session
    session.ml.online_endpoints.get_keys = lambda _: SimpleNamespace(primary_key="secret")

    async def sign_in(_: object) -> Session:
        found: Session = session
        return found

    async def list_endpoints(_: Session) -> dict[str, EndpointState]:
        return {"diabetes": EndpointState(name="diabetes")}

    monkeypatch.setattr(live, "sign_in", sign_in)
    monkeypatch.setattr(live, "list_endpoints", list_endpoints)
    assert azure.endpoint is not None
    azure.endpoint._scoring_uri = gateway.url
    return azure


def test_the_log_is_that_of_what_serves_without_secrets(signed_in: FakeAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(read_log("diabetes", None, 7, "inference-server"))

    assert (found.online_deployment, found.text) == ("blue", "inference-server of blue, 7 lines")

    session: Any = signed_in.session
    session.ml.online_deployments.get_logs = lambda *_, **__: "key=AccountKey=c2VjcmV0c2VjcmV0c2VjcmV0;x\n"

    async def sign_in(_: object) -> Any:
        return session

    monkeypatch.setattr(live, "sign_in", sign_in)
    assert "c2VjcmV0" not in run(read_log("diabetes", "green", 7, "storage-initializer")).text


def test_a_log_that_azure_refuses_is_an_error_that_names_it(
    signed_in: FakeAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> str:
        raise HttpResponseError("no container yet")

    monkeypatch.setattr(live, "fetch_log", refuse)

    with pytest.raises(RollwayError) as caught:
        run(read_log("diabetes", "green", 7, "inference-server"))

    assert (caught.value.what, caught.value.why) == ("cannot read the log of 'green'", "no container yet")


def test_a_request_is_answered_as_traffic_decides_or_by_the_named_one(signed_in: FakeAzure, gateway: Gateway) -> None:
    gateway.will_answer((200, {ROUTING_HEADER: "blue"}, {"y": 1}))

    by_traffic = run(score_once("diabetes", REQUEST, None))
    run(score_once("diabetes", REQUEST, "GREEN"))

    assert (by_traffic.body, by_traffic.served_by) == ({"y": 1}, "blue")
    assert [headers.get(ROUTING_HEADER) for headers, _ in gateway.requests] == [None, "green"]


def test_an_error_of_the_model_is_an_error(signed_in: FakeAzure, gateway: Gateway) -> None:
    gateway.will_answer((424, {"ms-azureml-model-error-statuscode": "500", ROUTING_HEADER: "blue"}, "boom"))

    with pytest.raises(RollwayError) as caught:
        run(score_once("diabetes", REQUEST, None))

    assert caught.value.what == "blue answered with status 424"
    assert caught.value.where == gateway.url


def test_without_traffic_nothing_is_sent_unless_one_is_named(signed_in: FakeAzure, gateway: Gateway) -> None:
    signed_in.set_traffic()

    with pytest.raises(NotFound) as caught:
        run(score_once("diabetes", REQUEST, None))

    assert (caught.value.what, gateway.requests) == ("nothing serves yet", [])
    assert run(score_once("diabetes", REQUEST, "green")).status == 200


def test_an_unknown_endpoint_is_an_error_that_names_the_known_ones(
    signed_in: FakeAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in.endpoint = None

    with pytest.raises(NotFound) as caught:
        run(read_log("diabets", None, 7, "inference-server"))

    assert caught.value.hint == "the workspace has diabetes, did you mean 'diabetes'?"
