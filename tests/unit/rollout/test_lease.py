"""The lease as the value of a tag."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.rollout.lease import FREE, Lease, decode, is_earlier_attempt

WORDS = st.text(st.characters(exclude_characters=" "), min_size=1, max_size=20)


@given(WORDS, st.integers(1, 10**6), WORDS)
def test_what_is_encoded_is_decoded_to_the_same_lease(holder: str, ttl_seconds: int, renewed_at: str) -> None:
    held = Lease(holder=holder, ttl_seconds=ttl_seconds, renewed_at=renewed_at)

    assert decode(held.encode()) == held


def test_a_lease_is_three_words_that_people_can_read() -> None:
    held = Lease(holder="run/2", ttl_seconds=300, renewed_at="2026-01-01T12:00:00+00:00")

    assert held.encode() == "run/2 300 2026-01-01T12:00:00+00:00"


def test_a_lease_of_a_long_run_name_fits_into_a_tag() -> None:
    held = Lease(holder=f"{'x' * 36}/{10**6}", ttl_seconds=10**9, renewed_at="2026-01-01T12:00:00.000+00:00")

    assert len(held.encode()) < 256


@pytest.mark.parametrize(
    "tag", [None, "", FREE, "run/1", "run/1 300", "run/1 x now", "run/1 -1 now", "run/1 ² now", "a b c d"]
)
def test_an_endpoint_without_a_lease_that_rollway_wrote_is_free(tag: str | None) -> None:
    assert decode(tag) is None


@given(st.text(st.sampled_from(" 0123456789²٣/-ab"), max_size=12))
def test_no_text_in_the_tag_is_an_error(tag: str) -> None:
    held = decode(tag)

    assert held is None or held.holder == tag.partition(" ")[0]


@pytest.mark.parametrize(
    ("holder", "run_id", "is_earlier"),
    [
        ("run/1", "run/2", True),
        ("run/9", "run/10", True),
        ("run/2", "run/2", False),
        ("run/3", "run/2", False),
        ("other/1", "run/2", False),
        ("run", "run/2", False),
        ("run/1", "run", False),
        ("run/x", "run/2", False),
        ("run/²", "run/3", False),
    ],
)
def test_only_an_attempt_before_of_the_same_flow_run_is_an_earlier_one(
    holder: str, run_id: str, is_earlier: bool
) -> None:
    assert is_earlier_attempt(holder, run_id) is is_earlier
