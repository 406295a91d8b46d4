"""Endpoints and online deployments as values, read through the SDK."""

from collections.abc import Mapping
from typing import Any

from azure.ai.ml.entities import OnlineDeployment, OnlineEndpoint
from azure.core.exceptions import AzureError, ResourceNotFoundError

from rollway.azure.content import hidden, settings_of, variables_of
from rollway.azure.entities import identities_of, kind_of, tags_of, text_of
from rollway.azure.errors.translate import azure_errors
from rollway.azure.session import Session
from rollway.azure.threads import in_thread
from rollway.azure.waiting import SYSTEM_CLOCK, Clock, Usual, wait_for
from rollway.errors import AzureUnavailable, NotFound
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.spec import did_you_mean

# The shortest in Microsoft's recordings of real Azure, rounded down.
CREATE_ENDPOINT, CREATE_ONLINE_DEPLOYMENT = Usual(60.0), Usual(360.0)
# 20 s and 70 s were recorded: looks as dense as for other operations would be many.
CHANGE_ENDPOINT = Usual(15.0, late_share=0.5)
ABSENT = "Absent"
OPERATION_ADDRESS = "AzureAsyncOperationUri"  # a property
UNAVAILABLE_SECONDS, MOST_UNAVAILABLE = 600, 12  # each of them after the retries of the SDK


async def read_endpoint(session: Session, name: str) -> EndpointState:
    """Return the endpoint with all its online deployments; `exists` is False if two reads say that there is none."""
    bare = await read_bare_endpoint(session, name)
    if not bare.exists:  # a single 404 does not prove it, and nobody restores traffic that is not there
        bare = await read_bare_endpoint(session, name)
    if not bare.exists:
        return bare
    with azure_errors(f"cannot read the endpoint {name!r}", where=f"endpoint {name}"):
        try:
            return await with_online_deployments(session, bare)
        except ResourceNotFoundError as error:
            if (await read_bare_endpoint(session, name)).exists:  # a list that lags, or a wrong answer
                raise AzureUnavailable(
                    f"the online deployments of {name!r} cannot be listed",
                    where=f"endpoint {name}",
                    why="Azure answers that there is no endpoint, but there is one",
                    hint="run it again in a minute",
                ) from error
            return EndpointState(name=name, exists=False, provisioning_state=ABSENT)


async def with_online_deployments(session: Session, bare: EndpointState) -> EndpointState:
    """Return a bare endpoint with its online deployments; raises the SDK's exceptions."""
    found = await list_online_deployments(session, bare.name)
    return bare.model_copy(update={"online_deployments": found, "is_complete": True})


async def read_bare_endpoint(session: Session, name: str) -> EndpointState:
    """Return the endpoint without its online deployments: one request, for waits."""
    with azure_errors(f"cannot read the endpoint {name!r}", where=f"endpoint {name}"):
        try:
            entity = await in_thread(session.ml.online_endpoints.get, name)
        except ResourceNotFoundError:
            return EndpointState(name=name, exists=False, provisioning_state=ABSENT)
    return state_of(entity).model_copy(update={"is_complete": False})


async def read_endpoint_patiently(session: Session, name: str, clock: Clock = SYSTEM_CLOCK) -> EndpointState:
    """Return the endpoint like `read_endpoint`; Azure may be unavailable for a while."""
    return await wait_for(
        lambda: read_endpoint(session, name),
        lambda _: True,
        what=f"reading the endpoint {name}",
        timeout_seconds=UNAVAILABLE_SECONDS,
        describe=lambda state: state.provisioning_state,
        most_unavailable=MOST_UNAVAILABLE,
        clock=clock,
    )


async def list_endpoints(session: Session) -> dict[str, EndpointState]:
    """Return the endpoints of the workspace without their online deployments, by name in lower case.

    One request per page.
    """
    with azure_errors("cannot list the endpoints", where=str(session.workspace)):
        entities = await in_thread(lambda: list(session.ml.online_endpoints.list()))
    bare = {"is_complete": False}
    return {str(one.name).lower(): state_of(one).model_copy(update=bare) for one in entities}


def unknown_endpoint(session: Session, name: str, known: Mapping[str, EndpointState]) -> NotFound:
    """Return the error for an endpoint that is none of the workspace's."""
    return NotFound(
        f"there is no endpoint {name!r}",
        where=str(session.workspace),
        hint=f"the workspace has {', '.join(sorted(known)) or 'no endpoints'}{did_you_mean(name, known)}",
    )


async def list_online_deployments(session: Session, endpoint: str) -> tuple[OnlineDeploymentState, ...]:
    """Return all online deployments of an endpoint; raises the SDK's exceptions."""
    return tuple(
        online_deployment_state_of(one)
        for one in await in_thread(lambda: list(session.ml.online_deployments.list(endpoint)))
    )


async def read_online_deployment(session: Session, endpoint: str, name: str) -> OnlineDeploymentState | None:
    """Return one online deployment, or None."""
    with azure_errors(f"cannot read the online deployment {name!r}", where=f"endpoint {endpoint}"):
        try:
            return online_deployment_state_of(await in_thread(session.ml.online_deployments.get, name, endpoint))
        except ResourceNotFoundError:
            return None


async def read_reason(session: Session, entity: OnlineEndpoint) -> dict[str, Any] | None:
    """Return the error body of the last operation on an endpoint, or None."""
    # The endpoint only says "Failed". Its operation knows why, and its address is among the properties.
    operation = await read_operation(session, (entity.properties or {}).get(OPERATION_ADDRESS))
    return operation.get("error")


async def read_operation(session: Session, address: str | None) -> dict[str, Any]:
    """Return the status document of an operation, empty if there is no address or it cannot be read."""
    try:
        return await in_thread(session.read_arm, str(address)) if address else {}
    except AzureError:
        return {}


def state_of(entity: OnlineEndpoint) -> EndpointState:
    """Convert an endpoint entity to a value without online deployments."""
    return EndpointState(
        name=str(entity.name),
        provisioning_state=text_of(entity.provisioning_state),
        auth_mode=text_of(entity.auth_mode).lower(),
        public_network_access=text_of(getattr(entity, "public_network_access", None) or "enabled").lower(),
        kind=kind_of(entity),
        location=entity.location,
        identities=identities_of(entity),
        description=entity.description,
        tags=tags_of(entity),
        scoring_uri=entity.scoring_uri,
        traffic={name: int(weight) for name, weight in (entity.traffic or {}).items()},
        mirror_traffic={name: int(weight) for name, weight in (entity.mirror_traffic or {}).items()},
    )


def online_deployment_state_of(entity: OnlineDeployment) -> OnlineDeploymentState:
    """Convert an online deployment entity to a value."""
    return OnlineDeploymentState(
        name=str(entity.name),
        provisioning_state=text_of(entity.provisioning_state),
        instance_count=int(entity.instance_count or 1),
        tags=tags_of(entity),
        model=str(entity.model) if entity.model else None,
        environment=str(entity.environment) if entity.environment else None,
        code=str(entity.code_configuration.code) if entity.code_configuration else None,
        settings=settings_of(entity),
        environment_variables=hidden(variables_of(entity)),
    )
