"""The texts of azure-ai-ml: the reason without decoration."""

import pytest
from azure.ai.ml._exception_helper import log_and_raise_error
from azure.ai.ml.exceptions import (
    ErrorCategory,
    ErrorTarget,
    MlException,
    ValidationErrorType,
    ValidationException,
)
from azure.core.exceptions import ServiceRequestError

from rollway.azure.errors.translate import translate


def sdks_report(message: str) -> MlException:
    """The exception that the SDK makes of its own validation."""
    refused = ValidationException(
        message=message,
        target=ErrorTarget.ONLINE_DEPLOYMENT,  # type: ignore[arg-type]
        no_personal_data_message="",
        error_category=ErrorCategory.USER_ERROR,  # type: ignore[arg-type]
        error_type=ValidationErrorType.CANNOT_PARSE,
    )
    with pytest.raises(MlException) as caught:
        log_and_raise_error(refused)
    return caught.value


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Failed to submit deployment x.\nError on line 1: def (\n\nIf you wish", None),
        ("name:\n- Missing data for required field.", "name: Missing data for required field."),
        ("one\n\n(x) two:\n- three", "one; two: three"),
    ],
)
def test_the_reason_of_the_sdks_report_is_the_part_behind_its_mark(message: str, reason: str | None) -> None:
    error = sdks_report(message)
    assert "\x1b[31m(x) " in str(error), "it is the SDK that colours it"

    assert translate(error, "cannot do it", "endpoint x").why == (
        reason or "Failed to submit deployment x. Error on line 1: def ("
    )


def test_no_text_of_the_sdk_keeps_its_colours_and_secrets() -> None:
    refused = ServiceRequestError("\x1b[31mno route to https://x/?sig=abcdef\x1b[39m")

    error = translate(refused, "cannot do it", "endpoint x")

    assert error.why == "no connection: no route to https://x/?sig=***"
