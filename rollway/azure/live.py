"""An endpoint asked by hand: the log of one of its online deployments, and its answer to a request."""

from rollway.azure.errors.translate import azure_errors
from rollway.azure.online_deployments import fetch_log
from rollway.azure.scoring import Scorer
from rollway.azure.session import Session, sign_in
from rollway.azure.state import list_endpoints, read_endpoint, unknown_endpoint
from rollway.rollout.choice import Container, choose, nothing_serves
from rollway.rollout.scored import require_answer
from rollway.rollout.smoke import Measurement
from rollway.rollout.state import EndpointState
from rollway.settings import Identity, Workspace
from rollway.spec import Frozen, ScoringRequest

ANSWER_SECONDS = 200.0  # longer than Azure's gateway waits for a model


class Log(Frozen):
    """The last lines of the log of a container, without secrets."""

    online_deployment: str
    container: Container
    text: str


async def read_existing(session: Session, endpoint: str) -> EndpointState:
    """Return the endpoint with its online deployments; raises NotFound with the names that the workspace has."""
    found = await read_endpoint(session, endpoint)
    if not found.exists:
        raise unknown_endpoint(session, endpoint, await list_endpoints(session))
    return found


async def read_log(
    endpoint: str,
    online_deployment: str | None,
    lines: int,
    container: Container,
    where: tuple[Workspace, Identity] | None = None,
) -> Log:
    """Sign in and return the log of a container.

    Args:
        endpoint: Name of the endpoint.
        online_deployment: Name of the online deployment; default: the one with most traffic, or else the only one.
        lines: How many of its last lines.
        container: The inference server, or what downloads the model before it starts.
        where: Workspace and identity; default: those of the environment.
    """
    session = await sign_in(where)
    chosen = choose(await read_existing(session, endpoint), online_deployment).name
    with azure_errors(f"cannot read the log of {chosen!r}", where=f"endpoint {endpoint}"):
        text = await fetch_log(session, endpoint, chosen, lines, container)
    return Log(online_deployment=chosen, container=container, text=text)


async def score_once(
    endpoint: str,
    request: ScoringRequest,
    online_deployment: str | None,
    where: tuple[Workspace, Identity] | None = None,
) -> Measurement:
    """Sign in, send one request and return the answer; raises RollwayError if that is an error.

    Args:
        endpoint: Name of the endpoint.
        online_deployment: Name of the one to answer, regardless of its weight; default: as traffic decides.
        where: Workspace and identity; default: those of the environment.
    """
    session = await sign_in(where)
    state = await read_existing(session, endpoint)
    pinned = choose(state, online_deployment).name if online_deployment else None
    if not pinned and not state.serving:
        raise nothing_serves(state)
    async with Scorer(session, state, timeout_seconds=ANSWER_SECONDS) as scorer:
        answer = await scorer.score(request, online_deployment=pinned)
    return require_answer(answer, state.name, str(state.scoring_uri), pinned)
