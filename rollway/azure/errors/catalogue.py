"""The catalogue of Azure errors: cause and next action, looked up by code and words."""

import re
from collections.abc import Iterator, Sequence

from rollway.azure.errors.known import BUSY, LATER, TABLE
from rollway.errors import Cause
from rollway.spec import Frozen


class Classified(Frozen):
    """Code, cause and next action of an Azure error.

    `is_known` is False if the table does not have it; then cause and hint follow from the HTTP status alone.
    """

    code: str | None
    cause: Cause
    hint: str
    is_known: bool = True


_KNOWN = {code.lower(): code for rule in TABLE for code in rule.codes.split()}
# These say little if there is another code.
_VAGUE = ("badargument", "internalservererror", "serviceerror", "internalerror")


def classify(status: int | None, code: str | None, message: str, inner_codes: Sequence[str] = ()) -> Classified:
    """Return the cause and the next action of an Azure error.

    Args:
        status: Status of the HTTP answer; None for the reason of a failed operation.
        code: `error.code`, which may be null.
        message: The text; it may have the code in front, or as the anchor of a help address.
        inner_codes: Codes of the details.
    """
    status = status or 200
    for candidate in _candidates(code, message, inner_codes) or [""]:
        rule = next((rule for rule in TABLE if rule.fits(status, candidate, message)), None)
        if rule is not None:
            return Classified(code=_KNOWN.get(candidate, code), cause=rule.cause, hint=rule.hint)
    cause, hint = _by_status(status)
    return Classified(code=code, cause=cause, hint=hint, is_known=False)


def _candidates(code: str | None, message: str, inner_codes: Sequence[str]) -> list[str]:
    """Return the codes that the table knows, in lower case, the most specific one first."""

    def all_of_them() -> Iterator[str]:
        yield code or ""
        yield from re.findall(r"\b([A-Z]\w+): ", message.partition("\n")[0])
        yield from re.findall(r"aka\.ms/oe-tsg#error-(\w+)", message)
        # The service names its own client's failure in every refused request.
        yield from (one for one in inner_codes if one != "InferencingClientCallFailed")

    known = dict.fromkeys(one.lower() for one in all_of_them() if one.lower() in _KNOWN)
    return sorted(known, key=lambda one: one in _VAGUE)


def _by_status(status: int) -> tuple[Cause, str]:
    if status == 409:
        return Cause.BUSY, BUSY
    if status in (408, 429) or (status >= 500 and status not in (501, 505)):
        return Cause.TRANSIENT, LATER
    return Cause.PERMANENT, {
        401: "sign in again, or check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
        403: "a policy or a firewall forbids it: ask an administrator of the subscription; a role alone does not help",
        404: "check the name, and the workspace that the environment variables name",
        200: "read Azure's text and the log, fix what they report and run the rollout again",
    }.get(status, "fix what Azure names and run it again")
