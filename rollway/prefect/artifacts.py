"""Artifacts of a rollout, by kind and rollout; the rollout goes on if Prefect does not take them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.runtime import flow_run

from rollway.prefect.best_effort import best_effort


async def publish_markdown(kind: str, rollout: str, markdown: str, description: str) -> None:
    """Store a Markdown artifact under the key `<kind>-<rollout>`; the key's page lists its versions."""
    key = f"{kind}-{artifact_key(rollout)}"
    storing = acreate_markdown_artifact(markdown, key=key, description=description)
    await best_effort(f"the artifact {key} is missing", storing)


async def publish_result(kind: str, rollout: str, markdown: str, description: str, *, is_needed: bool = False) -> None:
    """Store the Markdown artifact of the whole run under the key `<kind>-<rollout>`, or replace what it says.

    It belongs to none of the tasks. The UI lists such artifacts first, and so that there is only one, the report takes
    the place of the plan.
    """
    key, run = f"{kind}-{artifact_key(rollout)}", UUID(str(flow_run.id))
    which = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run]),
        key=ArtifactFilterKey(any_=[key]),
    )

    async def store() -> None:
        async with get_client() as client:
            if known := await client.read_artifacts(artifact_filter=which, limit=1):
                await client.update_artifact(known[0].id, ArtifactUpdate(data=markdown, description=description))
            else:
                made = {"data": markdown, "description": description, "flow_run_id": run}
                await client.create_artifact(ArtifactCreate(type="markdown", key=key, **made))

    await best_effort(f"the artifact {key} is missing", store(), is_needed=is_needed)


async def publish_table(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """Store a table artifact."""
    table = [dict(row) for row in rows]
    await best_effort(f"the artifact {key} is missing", acreate_table_artifact(table, key=key, description=description))


class Progress:
    """A progress artifact, which shows a part of 100 and a text."""

    def __init__(self) -> None:
        self._id: UUID | None = None

    async def show(self, percent: float, text: str) -> None:
        """Update the artifact; the first call that reaches Prefect creates it."""
        await best_effort("the progress artifact is out of date", self._show(percent, text))

    async def remove(self) -> None:
        """Delete the artifact, because the wait went well: its time is in the timeline of the report."""
        if self._id is not None:
            await best_effort("the progress artifact stays", self._remove(self._id))

    async def _remove(self, artifact: UUID) -> None:
        async with get_client() as client:
            await client.delete_artifact(artifact)

    async def _show(self, percent: float, text: str) -> None:
        if self._id is None:
            self._id = UUID(str(await acreate_progress_artifact(percent, description=text)))
        else:
            await aupdate_progress_artifact(self._id, progress=percent, description=text)


def artifact_key(name: str) -> str:
    """Return a rollout's name as Prefect allows it in artifact keys: lower-case letters, digits and dashes."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name.lower())
