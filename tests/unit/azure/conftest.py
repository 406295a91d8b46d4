"""The fake Azure that the tests of the control plane start from."""

import pytest

from rollway.rollout.state import CREATED_BY
from tests.unit.azure.fake import FakeAzure


@pytest.fixture
def azure() -> FakeAzure:
    """The endpoint, with `blue` serving everything and `green`, which this run created, idle beside it."""
    azure = FakeAzure()
    azure.have_endpoint(traffic={"blue": 100}, tags={"team": "ml"})
    azure.have("blue")
    azure.have("green", tags={CREATED_BY: "this run"})
    return azure
