"""The `model_mount_path` of an online deployment that is read from Azure: azure-ai-ml drops it.

It would look as if the folder had changed it. A change of the instance count, which writes back what was read, would
remove it. This module replaces a method of azure-ai-ml 1.35.2: entities/_deployment/online_deployment.py,
`_from_rest_object`.
"""

import functools
from typing import Any

from azure.ai.ml.entities import KubernetesOnlineDeployment, ManagedOnlineDeployment

_MARK = "_rollway_keeps_mount_path"


def keep_mount_paths() -> None:
    """Let entities of online deployments that the SDK reads have their mount path. It is safe to call it again."""
    kinds: tuple[Any, ...] = (ManagedOnlineDeployment, KubernetesOnlineDeployment)
    for kind in kinds:
        read = kind._from_rest_object.__func__
        if not hasattr(read, _MARK):
            kind._from_rest_object = classmethod(_keeping(read))


def _keeping(read: Any) -> Any:
    @functools.wraps(read)
    def read_with_mount_path(cls: type, resource: Any) -> Any:
        entity = read(cls, resource)
        entity.model_mount_path = getattr(resource.properties, "model_mount_path", None)
        return entity

    setattr(read_with_mount_path, _MARK, True)
    return read_with_mount_path
