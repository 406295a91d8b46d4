"""The automations of the Prefect server: create, update and delete them until they are the wanted ones."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import BlockDocument
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import AutomationSort
from prefect.events import emit_event
from prefect.events.schemas.automations import Automation as PrefectAutomation
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from rollway.errors import ConfigurationError, NotFound
from rollway.prefect import alerts, server
from rollway.prefect.alerts import AlertedRollout, Changes
from rollway.prefect.pages import PAGE, all_pages
from rollway.prefect.triggers import Automation, Message, Timing
from rollway.prefect.watcher_alerts import WATCHER, WATCHER_AWAITED_EVENT, WATCHER_RESOURCE

HEARTBEAT = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"


async def change_alerts(
    rollouts: Sequence[AlertedRollout], *, channel: str, timing: Timing, is_dry_run: bool
) -> Changes:
    """Bring the Prefect server's automations to the wanted ones, or only return the changes.

    Automations without our tag are never touched.

    Raises:
        ConfigurationError: There is no server, or heartbeats are too rare.
        NotFound: A channel is not a notification block, or the Prefect deployment that checks silent runs is missing.
    """
    if not PREFECT_API_URL.value():
        raise ConfigurationError(
            "no Prefect server is configured, and only a permanent server can send alerts",
            where="environment variable PREFECT_API_URL",
            hint="set it to your server, such as http://127.0.0.1:4200/api",
        )
    server.require_reachable()
    async with get_client() as client:
        rollway = DeploymentFilter(tags=DeploymentFilterTags(all_=["rollway"]))
        deployments = await all_pages(
            lambda offset: client.read_deployments(deployment_filter=rollway, limit=PAGE, offset=offset)
        )
        alerts.check_heartbeats({one.name: await _heartbeat_seconds(client, one) for one in deployments}, timing)
        wanted = alerts.wanted(rollouts, channel, timing)
        blocks = await _blocks(client, {one.action.channel for one in wanted if isinstance(one.action, Message)})
        check = await _silence_check(client)
        want = {one.name: _as_prefect(one, blocks, check) for one in wanted}
        automations = await all_pages(
            lambda offset: client.read_automations(sort=AutomationSort.NAME_ASC, limit=PAGE, offset=offset)
        )
        ours = [one for one in automations if alerts.TAG in one.tags]
        have = {one.name: one for one in ours}
        changes = alerts.compare(
            {name: _comparable(one) for name, one in want.items()},
            {name: _comparable(one) for name, one in have.items()},
            [one.name for one in ours if not one.enabled],
        )
        if not is_dry_run:
            await _carry_out(client, changes, want, have)
            if any(one.name == WATCHER for one in deployments):
                _await_watcher()
    return changes


async def _carry_out(
    client: PrefectClient, changes: Changes, want: dict[str, AutomationCore], have: dict[str, PrefectAutomation]
) -> None:
    for name in changes.create:
        await client.create_automation(want[name])
    for name in changes.update:
        changed = want[name].model_copy(update={"enabled": have[name].enabled})
        await client.update_automation(have[name].id, changed)
    for name in changes.delete:
        await client.delete_automation(have[name].id)


def _as_prefect(automation: Automation, blocks: dict[str, BlockDocument], check: UUID) -> AutomationCore:
    action: dict[str, Any]
    if isinstance(automation.action, Message):
        action = {
            "type": "send-notification",
            "block_document_id": blocks[automation.action.channel].id,
            "subject": automation.action.subject,
            "body": automation.action.body,
        }
    else:
        action = {
            "type": "run-deployment",
            "source": "selected",
            "deployment_id": check,
            "parameters": {
                "flow_run_id": "{{ flow_run.id | string }}",  # a UUID alone is not JSON
                "silent_seconds": automation.action.silent_seconds,
            },
        }
    return AutomationCore.model_validate(
        {
            "name": automation.name,
            "description": automation.description,
            "tags": [alerts.TAG],
            "trigger": automation.trigger,
            "actions": [action],
        }
    )


def _comparable(automation: AutomationCore) -> dict[str, Any]:
    # Not the ids, nor whether a person has switched it off. Sets come back in any order and compare as sets.
    return automation.model_dump(include={"description", "trigger", "actions"})


async def _silence_check(client: PrefectClient) -> UUID:
    name = f"{alerts.SILENCE_CHECK}/{alerts.SILENCE_CHECK}"
    try:
        return (await client.read_deployment_by_name(name)).id
    except ObjectNotFound as error:
        raise NotFound(
            "there is no Prefect deployment that checks silent runs",
            where=f"Prefect deployment {name}",
            hint="create it with `prefect deploy --all`",
        ) from error


async def _blocks(client: PrefectClient, channels: set[str]) -> dict[str, BlockDocument]:
    documents = await all_pages(
        lambda offset: client.read_block_documents(include_secrets=False, limit=PAGE, offset=offset)
    )
    found: dict[str, BlockDocument] = {}
    missing: list[str] = []
    ambiguous: list[str] = []
    for channel in sorted(channels):
        block_type, _, name = channel.rpartition("/")
        fitting = [one for one in documents if one.name == name and _is_channel(one, block_type)]
        if len(fitting) == 1:
            found[channel] = fitting[0]
        else:
            (ambiguous if fitting else missing).append(channel)
    if missing:
        raise NotFound(
            f"there is no notification block {', '.join(repr(channel) for channel in missing)} in Prefect",
            where="rollout.yml: alerts.channel, or --channel",
            hint="create it in the UI under Blocks, or as docs/alerts.md shows",
        )
    if ambiguous:
        raise ConfigurationError(
            f"several notification blocks are named {', '.join(repr(channel) for channel in ambiguous)}",
            where="rollout.yml: alerts.channel, or --channel",
            hint="name its type too: <block type>/<name>, such as slack-webhook/rollway-alerts",
        )
    return found


def _is_channel(document: BlockDocument, block_type: str) -> bool:
    schema, slug = document.block_schema, document.block_type.slug if document.block_type else ""
    return schema is not None and "notify" in schema.capabilities and block_type in ("", slug)


def _await_watcher() -> None:
    """Start the time in which the watcher must complete, so that one that never runs is reported too."""
    emit_event(
        WATCHER_AWAITED_EVENT,
        resource={"prefect.resource.id": WATCHER_RESOURCE},
        related=[
            {
                "prefect.resource.id": f"prefect.flow.{WATCHER}",
                "prefect.resource.role": "flow",
                "prefect.resource.name": WATCHER,
            }
        ],
    )


async def _heartbeat_seconds(client: PrefectClient, deployment: DeploymentResponse) -> int | None:
    """Return the interval from the deployment's job variables, or from its work pool's defaults."""
    environments = [deployment.job_variables.get("env")]
    if deployment.work_pool_name:
        pool = await client.read_work_pool(deployment.work_pool_name)
        properties = pool.base_job_template.get("variables", {}).get("properties", {})
        environments.append(properties.get("env", {}).get("default"))
    for environment in environments:
        if environment and HEARTBEAT in environment:
            return int(environment[HEARTBEAT])
    return None
