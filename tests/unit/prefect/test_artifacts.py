"""Keys of artifacts."""

import re

from hypothesis import given
from hypothesis import strategies as st

from rollway.prefect.artifacts import artifact_key


@given(st.text(min_size=1))
def test_every_name_makes_a_legal_artifact_key(name: str) -> None:
    assert re.fullmatch("[a-z0-9-]+", artifact_key(name))
