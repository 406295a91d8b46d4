"""What Azure reports of an endpoint, as frozen values."""

from pydantic import JsonValue

from rollway.spec import Frozen

# Tags that Rollway writes; Azure is the only memory of a rollout.
TAG_PREFIX = "rollway:"
FINGERPRINT = "rollway:fingerprint"
MODEL = "rollway:model"
CODE = "rollway:code"
RUN = "rollway:run"  # the run that wrote last
CREATED_BY = "rollway:created-by"  # the run that created it
CREATED_AT = "rollway:created-at"
PREVIOUS_TRAFFIC = "rollway:previous-traffic"  # what the run that wrote last found
WRITTEN_TRAFFIC = "rollway:traffic"  # what it wrote
REJECTED = "rollway:rejected"  # the last `<model>:<version>`s that failed by their own fault, comma separated
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
    settings: dict[str, JsonValue] = {}

    @property
    def is_succeeded(self) -> bool:
        """Whether Azure says that it is ready to serve."""
        return self.provisioning_state.lower() == "succeeded"

    @property
    def is_failed(self) -> bool:
        """Whether its last operation failed or was cancelled."""
        return self.provisioning_state.lower() in ("failed", "canceled")


class EndpointState(Frozen):
    """An endpoint as it is in Azure, with everything behind it. `exists` is False for one a dry run would create."""

    name: str
    exists: bool = True
    provisioning_state: str = "Succeeded"
    auth_mode: str = "key"
    public_network_access: str = "enabled"
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

    def online_deployment(self, name: str) -> OnlineDeploymentState | None:
        """The one of that name (names compare case-insensitively), or None."""
        return next((one for one in self.online_deployments if one.name.lower() == name.lower()), None)
