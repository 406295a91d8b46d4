"""`rollway doctor`: what is missing here, and how to get it."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from importlib import metadata

from rollway.commands.shared import AsJson, configure_prefect, workspace_of_block
from rollway.errors import ConfigurationError, known
from rollway.rollout.checkup import Check, Checkup, State
from rollway.settings import (
    DefaultIdentity,
    Identity,
    Workspace,
    deployments_folder,
    known_rollouts,
    require_checkout,
    workspace_from_environment,
)
from rollway.terminal import answer

SHOWN = ("azure-ai-ml", "azure-identity", "prefect")


def doctor(*, as_json: AsJson = False) -> None:
    """Check credentials, roles, network, Prefect and versions; exit with 2 if something is missing."""
    from rollway.reports import doctor as doctor_report

    found = Checkup(checks=tuple(_checks()))
    if as_json:
        answer(found.model_dump_json(indent=2))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(doctor_report.table(found))
    else:
        answer(doctor_report.plain(found))
    if not found.is_ready:
        sys.exit(ConfigurationError.exit_code)


def _checks() -> Iterator[Check]:
    yield _versions()
    yield _checkout()
    yield _folders()
    try:
        where = workspace_of_block() or (workspace_from_environment(), DefaultIdentity())
    except Exception as error:  # noqa: BLE001 (the other checks are shown all the same)
        yield Check.failed("workspace", known(error))
        for name in ("credentials", "network", "access", "roles"):
            yield Check(name=name, state=State.UNKNOWN, found="needs a workspace")
    else:
        yield Check(name="workspace", state=State.OK, found=str(where[0]))
        yield from _guarded("azure", lambda: _azure(*where))
    yield from _guarded("prefect server", _prefect)


def _guarded(name: str, check: Callable[[], tuple[Check, ...]]) -> tuple[Check, ...]:
    """Make checks; an error of theirs is the check of that name, so that it does not hide the others."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001
        return (Check.failed(name, known(error)),)


def _versions() -> Check:
    """Compare the installed packages with what Rollway needs."""
    from packaging.requirements import Requirement

    wanted = [Requirement(one) for one in metadata.requires("rollway") or ()]
    faults = []
    for one in wanted:
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            faults.append(f"{one.name} is not installed")
            continue
        if not one.specifier.contains(version, prereleases=True):
            faults.append(f"{one.name} is {version} instead of {one.specifier}")
    if faults:
        hint = "install Rollway again: `make .venv/ready` in a checkout, or with pip"
        return Check(name="versions", state=State.MISSING, found="; ".join(faults), next=hint)
    shown = [f"{name} {metadata.version(name)}" for name in ("rollway", *SHOWN)]
    python = ".".join(map(str, sys.version_info[:3]))
    return Check(name="versions", state=State.OK, found=f"{', '.join(shown)}, Python {python}")


def _checkout() -> Check:
    try:
        require_checkout("deploy")
    except ConfigurationError as error:
        found = "the flows are not here: `rollway deploy`, `rollback` and `promote` need them"
        return Check(name="checkout", state=State.OPTIONAL, found=found, next=error.hint or "")
    return Check(name="checkout", state=State.OK, found="the flows are here")


def _folders() -> Check:
    names, root = known_rollouts(), deployments_folder()
    if not names:
        hint = f"make one in {root}/, or name another folder in ROLLWAY_DEPLOYMENTS"
        return Check(name="folders", state=State.OPTIONAL, found=f"no rollout folder in {root}/", next=hint)
    return Check(name="folders", state=State.OK, found=f"{root}/: {', '.join(names)}")


def _azure(workspace: Workspace, identity: Identity) -> tuple[Check, ...]:
    from rollway.azure.checkup import check_azure

    return asyncio.run(check_azure(workspace, identity))


def _prefect() -> tuple[Check, ...]:
    configure_prefect()
    from rollway.prefect.checkup import check_prefect

    return asyncio.run(check_prefect(known_rollouts()))
