"""Autoscale settings of online deployments in Azure Monitor: read, copied and deleted."""

import json
from io import BytesIO
from typing import Any

from rollway.azure.errors.translate import azure_errors
from rollway.azure.permissions import read_permissions
from rollway.azure.session import Session
from rollway.azure.threads import in_thread, write_in_thread
from rollway.errors import AccessDenied
from rollway.rollout.autoscale import (
    AutoscaleSetting,
    copied,
    find_problems,
    setting_name,
    setting_of,
    settings_of,
)
from rollway.rollout.preflight import Finding


async def read_autoscale(session: Session) -> tuple[AutoscaleSetting, ...]:
    """Return all settings of the workspace's resource group that scale an online deployment; raises AccessDenied."""
    group = session.workspace.resource_group
    with azure_errors("cannot read the autoscale settings", where=f"resource group {group}"):
        documents = await in_thread(_list, session, group)
    return tuple(setting for one in documents if (setting := setting_of(one)) is not None)


async def check_autoscale(session: Session, endpoint: str) -> tuple[tuple[AutoscaleSetting, ...], tuple[Finding, ...]]:
    """Return the settings of the online deployments of an endpoint, and the preflight's findings about them.

    Settings that may not be read are a warning. The permissions are read only if there is something to copy.
    """
    behind = f"{session.workspace.endpoint_id(endpoint)}/deployments/".lower()
    try:
        settings = tuple(one for one in await read_autoscale(session) if one.target_id.lower().startswith(behind))
    except AccessDenied:
        return (), find_problems(None, None)
    return settings, find_problems(settings, await read_permissions(session) if settings else None)


async def copy_autoscale(session: Session, setting: AutoscaleSetting, endpoint: str, online_deployment: str) -> str:
    """Let an online deployment scale by the rules of a setting; return the name of its own setting.

    A setting that it has already stays as it is: Azure accepts only one, and somebody may have changed it.
    """
    endpoint_id = session.workspace.endpoint_id(endpoint)
    if existing := settings_of(await read_autoscale(session), endpoint_id, online_deployment):
        return existing[0].name
    target = f"{endpoint_id}/deployments/{online_deployment}"
    name = setting_name(target)
    body = BytesIO(json.dumps(copied(setting, target, setting.location, name)).encode())
    what = f"cannot copy the autoscale setting {setting.name!r} for the online deployment {online_deployment!r}"
    with azure_errors(what, where=f"endpoint {endpoint}"):
        put = session.monitor.autoscale_settings.create_or_update
        await write_in_thread(lambda: put(session.workspace.resource_group, name, body))
    return name


async def delete_autoscale(session: Session, name: str) -> None:
    """Delete a setting; it is not an error if there is none of that name."""
    group = session.workspace.resource_group
    with azure_errors(f"cannot delete the autoscale setting {name!r}", where=f"resource group {group}"):
        await write_in_thread(session.monitor.autoscale_settings.delete, group, name)


async def delete_autoscale_of(session: Session, endpoint: str, online_deployment: str) -> None:
    """Delete the settings of an online deployment that is about to be deleted; those that may not be read stay."""
    try:
        settings = settings_of(
            await read_autoscale(session), session.workspace.endpoint_id(endpoint), online_deployment
        )
    except AccessDenied:
        return
    for one in settings:
        await delete_autoscale(session, one.name)


def _list(session: Session, group: str) -> list[dict[str, Any]]:
    # The SDK's models turn the local times of a profile into UTC: a copy of them would apply at another hour. So the
    # answers themselves are kept.
    pages: list[dict[str, Any]] = []

    def keep(response: Any) -> None:
        if response.http_response.status_code == 200:  # also called for answers that are retried
            pages.append(response.http_response.json())

    for _ in session.monitor.autoscale_settings.list_by_resource_group(group, raw_response_hook=keep):
        pass
    return [one for page in pages for one in page.get("value") or []]
