"""The answer to a request that a person sent by hand, and what to do about one that is no good."""

from http import HTTPStatus

from rollway.errors import RollwayError
from rollway.rollout.smoke import MODEL_STATUS, REQUEST_ID, Measurement, NoAnswer, excerpt, is_models_error

_MEANINGS = {
    401: (
        "the gateway refused the key or token that was just read",
        "see that nobody is replacing the keys; try again",
    ),
    403: (
        "the gateway denies access",
        "grant yourself the role 'AzureML Data Scientist' on the workspace (it takes minutes to take effect); if "
        "public network access is disabled, score from inside the workspace's network",
    ),
    404: ("the gateway has no route to it", "`rollway status {endpoint}` shows the traffic"),
    408: (
        "run() took longer than request_timeout_ms",
        "make run() faster, or raise request_settings.request_timeout_ms in deployment.yml",
    ),
    409: ("another operation is running on the endpoint", "wait until it has ended, and try again"),
    424: ("the container cannot be reached", "`rollway logs {endpoint}{option}` shows what it does"),
    429: ("too many requests", "try again when the endpoint has less load, or give it more instances"),
}


def require_answer(
    answer: Measurement | NoAnswer, endpoint: str, uri: str, online_deployment: str | None
) -> Measurement:
    """Return the answer; raises RollwayError that says whose fault it is if it is none, or an error.

    Args:
        endpoint: Name of the endpoint.
        uri: The address of the request.
        online_deployment: Name of the one that the request was pinned to; None if traffic decided.
    """
    if isinstance(answer, NoAnswer):
        hint = "check the network; if public network access is disabled, score from inside the workspace's network"
        raise RollwayError(f"the endpoint {endpoint!r} does not answer", where=uri, why=answer.why, hint=hint)
    if answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return answer
    who = answer.served_by or online_deployment
    option = f" --online-deployment {who}" if who else ""
    if is_models_error(answer):
        own = answer.headers.get(MODEL_STATUS, "")
        why = f"the model itself answered with status {own}" if own else "the model's own code failed"
        is_refusal = own.startswith("4")
        hint = (
            "correct the request: its answer below says why"
            if is_refusal
            else "`rollway logs {endpoint}{option}` shows its exception"
        )
    else:
        why, hint = _MEANINGS.get(
            answer.status,
            ("an error of Azure, not of the model", "try again in a minute")
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            else ("the gateway rejects the request", "check the file, --content-type, and proxies on the way"),
        )
    raise RollwayError(
        f"{who or endpoint} answered with status {answer.status}",
        where=uri,
        why=why,
        hint=hint.format(endpoint=endpoint, option=option),
        request_id=answer.headers.get(REQUEST_ID),
        details=f"answer: {excerpt(answer.body)}" if answer.size else None,
    )
