"""Texts and exit codes of errors."""

import ast
import inspect
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollway import errors
from rollway.errors import (
    AccessDenied,
    AnotherRollout,
    AzureUnavailable,
    Busy,
    CanaryFailed,
    Cause,
    ConfigurationError,
    CouldNotMeasure,
    DeadlineExceeded,
    ForeignChange,
    InvalidRollout,
    NotFound,
    PrefectUnavailable,
    PreflightFailed,
    ProvisioningFailed,
    RolloutAborted,
    RollwayError,
    SmokeTestFailed,
    TrafficNotRestored,
    WatchIncomplete,
)
from rollway.spec import Problem

TREE = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, RollwayError)]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (RollwayError, 1),
        (AzureUnavailable, 1),
        (PrefectUnavailable, 1),
        (ConfigurationError, 2),
        (InvalidRollout, 2),
        (AccessDenied, 2),
        (NotFound, 2),
        (PreflightFailed, 2),
        (RolloutAborted, 3),
        (ProvisioningFailed, 3),
        (CanaryFailed, 3),
        (SmokeTestFailed, 3),
        (ForeignChange, 3),
        (AnotherRollout, 3),
        (CouldNotMeasure, 3),
        (TrafficNotRestored, 4),
        (DeadlineExceeded, 5),
        (WatchIncomplete, 1),
    ],
)
def test_the_exit_code_tells_what_happened(kind: type[RollwayError], code: int) -> None:
    assert kind("it").exit_code == code


def test_only_azure_and_prefect_that_are_away_are_retryable() -> None:
    assert {one for one in TREE if one.retryable} == {AzureUnavailable, Busy, PrefectUnavailable}


def test_only_three_errors_are_the_candidates_fault() -> None:
    assert {one for one in TREE if one.is_candidates_fault} == {CanaryFailed, ProvisioningFailed, SmokeTestFailed}


@pytest.mark.parametrize(
    ("error", "is_models_fault"),
    [
        (SmokeTestFailed("it"), True),
        (CanaryFailed("it"), True),
        (ProvisioningFailed("it", code="ResourceNotReady"), True),
        (ProvisioningFailed("it", code="resourceNotReady"), True),
        (ProvisioningFailed("it", code="UserScriptInitFailed"), True),
        (ProvisioningFailed("it", code="UserScriptImportError"), True),
        (ProvisioningFailed("it", code="KubernetesCrashLoopBackOff"), True),
        (ProvisioningFailed("it", code="ImageBuildFailure"), False),
        (ProvisioningFailed("it", code="ImagePullLoopBackOff"), False),
        (ProvisioningFailed("it", code="OutOfQuota", cause=Cause.QUOTA), False),
        (ProvisioningFailed("it"), False),
        (RollwayError("it", code="ResourceNotReady"), False),
        (CouldNotMeasure("it"), False),
    ],
    ids=lambda value: f"{type(value).__name__} {value.code}" if isinstance(value, RollwayError) else None,
)
def test_only_a_container_that_started_but_could_not_serve_is_the_models_fault(
    error: RollwayError, is_models_fault: bool
) -> None:
    assert error.is_models_fault is is_models_fault


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (RollwayError, Cause.PERMANENT),
        (ConfigurationError, Cause.PERMANENT),
        (ProvisioningFailed, Cause.PERMANENT),
        (SmokeTestFailed, Cause.PERMANENT),
        (TrafficNotRestored, Cause.PERMANENT),
        (AnotherRollout, Cause.BUSY),
        (Busy, Cause.BUSY),
        (ForeignChange, Cause.CONFLICT),
        (AzureUnavailable, Cause.TRANSIENT),
        (PrefectUnavailable, Cause.TRANSIENT),
        (DeadlineExceeded, Cause.TRANSIENT),
        (CouldNotMeasure, Cause.TRANSIENT),
    ],
)
def test_each_class_has_a_default_cause(kind: type[RollwayError], cause: Cause) -> None:
    assert kind("it").cause is cause


def test_the_cause_by_azures_answer_beats_that_of_the_class() -> None:
    error = ProvisioningFailed("it", cause=Cause.QUOTA, code="OutOfQuota", error_tree="OutOfQuota: no cores")

    assert (error.cause, error.code, error.error_tree) == (Cause.QUOTA, "OutOfQuota", "OutOfQuota: no cores")
    assert ProvisioningFailed("another").cause is Cause.PERMANENT


def test_the_tree_in_the_documentation_is_the_tree_in_the_code() -> None:
    drawn = set(re.findall(r"^ *[│├└─ ]*([A-Z]\w+)  ", errors.__doc__ or "", re.MULTILINE))

    assert drawn == {one.__name__ for one in TREE}


@pytest.mark.parametrize("kind", TREE)
def test_the_documented_exit_code_is_the_real_one(kind: type[RollwayError]) -> None:
    documented = re.search(rf"\b{kind.__name__} +exit (\d)", errors.__doc__ or "")

    assert documented is None or int(documented[1]) == kind.exit_code


def test_an_error_says_what_where_why_and_what_to_try_in_this_order() -> None:
    error = RollwayError(
        "no luck", where="endpoint x", why="it rained", hint="wait", request_id="abc", details="log line\n"
    )

    assert str(error) == (
        "no luck\n  where: endpoint x\n  why: it rained\n  try: wait\n  Azure request id: abc\n\nlog line"
    )


def test_unknown_parts_are_left_out() -> None:
    assert str(RollwayError("no luck")) == "no luck"


def test_notes_are_part_of_the_text() -> None:
    error = RollwayError("no luck", hint="wait")
    error.add_note("and: no umbrella")

    assert str(error) == "no luck\n  try: wait\nand: no umbrella"


def test_an_invalid_rollout_lists_every_problem_on_a_line_of_its_own() -> None:
    problems = [Problem(file="a.yml", field="x.y", message="is wrong"), Problem(file="b.yml", message="is missing")]

    error = InvalidRollout("2 problems", problems)

    assert str(error) == "2 problems\n\n  a.yml: x.y: is wrong\n  b.yml: is missing"
    assert error.problems == tuple(problems)


ROOT = Path(__file__).parents[2]
# The dossier names the task and the run itself.
WITHOUT_PLACE = {"rollway/reports/dossier.py"}


def errors_made() -> Iterator[tuple[str, set[str]]]:
    """Yield where an error of ours is made, and the names of what it is given."""
    names = {kind.__name__ for kind in TREE}
    for folder in ("rollway", "tasks", "flows"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                    place = f"{path.relative_to(ROOT)}: {ast.unparse(node)[:100]}"
                    yield place, {keyword.arg or "" for keyword in node.keywords}


def test_every_error_says_where_and_what_to_do_next() -> None:
    made = [(place, given) for place, given in errors_made() if place.partition(":")[0] not in WITHOUT_PLACE]

    assert len(made) > 50
    assert [place for place, given in made if not {"where", "hint"} <= given] == []


def test_an_error_can_be_pickled() -> None:
    error = SmokeTestFailed("too slow", where="endpoint x", hint="make it faster", cause=Cause.BUSY, code="X")

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301

    assert (str(copy), copy.cause, copy.code) == (str(error), Cause.BUSY, "X")
