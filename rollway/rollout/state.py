"""What Azure reports of an endpoint, as frozen values."""

from typing import Literal

from pydantic import JsonValue

from rollway.rollout import traffic
from rollway.spec import Frozen

# Tags that Rollway writes; Azure is the only memory of a rollout.
TAG_PREFIX = "rollway:"
FINGERPRINT = "rollway:fingerprint"
MODEL = "rollway:model"
CODE = "rollway:code"
RUN = "rollway:run"  # the run that wrote last; on the endpoint: that moved traffic last
CREATED_BY = "rollway:created-by"  # the run that created it
CREATED_AT = "rollway:created-at"
LEASE = "rollway:lease"  # who may write to the endpoint and what is behind it
WRITTEN_TRAFFIC = "rollway:traffic"  # the traffic that Rollway wrote last
PROVEN_TRAFFIC = "rollway:proven-traffic"  # the last traffic that has passed its smoke test
PREVIOUS = "rollway:previous"  # `<online deployment>=<model>:<version>`: what served before the last promotion
REJECTED = "rollway:rejected"  # the last `<model>:<version>`s that failed by their own fault, comma separated
PROMOTED_AT = "rollway:promoted-at"  # since when the traffic is as it is
LAST = "rollway:last"  # how the last rollout ended: `<promoted or aborted> <run attempt> <time>`
PINNED = "rollway:pinned"  # why new model versions are not to be rolled out by themselves; empty: they are


def is_settled(provisioning_state: str) -> bool:
    """Whether a resource in that state has no operation running on it."""
    return provisioning_state.lower() in ("succeeded", "failed", "canceled")


class ResolvedAsset(Frozen):
    """A model or environment version in Azure. `id` is None when a dry run would only register it."""

    id: str | None
    name: str
    version: str | None
    is_new: bool = False

    def __str__(self) -> str:
        return f"{self.name}:{self.version or '(next version)'}"


class OnlineDeploymentState(Frozen):
    """One online deployment as it is in Azure; `settings` has the names and units of Azure's YAML."""

    name: str
    provisioning_state: str
    instance_count: int
    tags: dict[str, str] = {}
    model: str | None = None
    environment: str | None = None
    code: str | None = None  # the id of the uploaded code, which is another one for other content
    settings: dict[str, JsonValue] = {}

    @property
    def is_succeeded(self) -> bool:
        """Whether Azure says that it is ready to serve."""
        return self.provisioning_state.lower() == "succeeded"

    @property
    def is_failed(self) -> bool:
        """Whether its last operation failed or was cancelled."""
        return self.provisioning_state.lower() in ("failed", "canceled")

    @property
    def is_settled(self) -> bool:
        """Whether no operation is running on it."""
        return is_settled(self.provisioning_state)

    @property
    def is_being_deleted(self) -> bool:
        """Whether it will soon be gone."""
        return self.provisioning_state.lower() == "deleting"


def model_of(online_deployment: OnlineDeploymentState) -> str | None:
    """The model it serves as `<name>:<version>`, for people; None when it has none."""
    return online_deployment.tags.get(MODEL) or short_id(online_deployment.model)


def short_id(asset_id: str | None) -> str | None:
    """`<name>:<version>` of an asset's id, such as ".../models/diabetes/versions/3"; other texts as they are."""
    parts = (asset_id or "").split("/")
    return f"{parts[-3]}:{parts[-1]}" if len(parts) >= 3 and parts[-2].lower() == "versions" else asset_id


class EndpointState(Frozen):
    """An endpoint as it is in Azure, with everything behind it. `exists` is False for one a dry run would create."""

    name: str
    exists: bool = True
    provisioning_state: str = "Succeeded"
    auth_mode: str = "key"
    public_network_access: str = "enabled"
    kind: Literal["managed", "kubernetes"] = "managed"
    location: str | None = None
    identities: tuple[str, ...] = ()  # as in EndpointSpec; empty when Azure does not tell
    description: str | None = None
    tags: dict[str, str] = {}
    scoring_uri: str | None = None
    traffic: dict[str, int] = {}  # percent by online deployment
    mirror_traffic: dict[str, int] = {}
    online_deployments: tuple[OnlineDeploymentState, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether no operation is running on it."""
        return is_settled(self.provisioning_state)

    @property
    def proven_traffic(self) -> dict[str, int]:
        """The traffic to return to when what serves now fails: today's, unless Rollway moved it and never proved it.

        Traffic that somebody else set since then counts as proven, and so does traffic that nothing is left to return
        to.
        """
        today = {name: weight for name, weight in self.traffic.items() if weight}
        try:
            written = traffic.decode(self.tags[WRITTEN_TRAFFIC])
            proven = traffic.decode(self.tags[PROVEN_TRAFFIC])
        except (KeyError, ValueError):
            return today
        is_ours = traffic.is_same(written, today)
        return proven if is_ours and all(self.online_deployment(name) for name in proven) else today

    @property
    def is_unproven(self) -> bool:
        """Whether a rollout moved the traffic and ended before it was smoke-tested there."""
        return not traffic.is_same(self.proven_traffic, self.traffic)

    def weight_of(self, name: str) -> int:
        """The percent of live traffic that an online deployment gets today."""
        return next((weight for one, weight in self.traffic.items() if one.lower() == name.lower()), 0)

    def online_deployment(self, name: str) -> OnlineDeploymentState | None:
        """The one of that name (names compare case-insensitively), or None."""
        return next((one for one in self.online_deployments if one.name.lower() == name.lower()), None)
