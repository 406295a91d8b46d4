"""Autoscale settings of Azure Monitor."""

from rollway.spec import Frozen


class AutoscaleSetting(Frozen):
    """A setting and the online deployment that it scales."""

    name: str
    online_deployment: str
