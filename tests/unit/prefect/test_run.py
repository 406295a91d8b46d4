"""What runs are called."""

import pytest

from rollway.prefect.run import title


@pytest.mark.parametrize(
    ("version", "weight", "is_dry_run", "expected"),
    [
        ("7", 100, False, "diabetes · model 7"),
        ("7", 10, False, "diabetes · model 7 · canary 10 %"),
        ("7", 10, True, "diabetes · model 7 · canary 10 % · dry run"),
        (None, 100, False, "diabetes"),
    ],
)
def test_a_run_is_named_after_what_it_rolls_out(
    version: str | None, weight: int, is_dry_run: bool, expected: str
) -> None:
    assert title("diabetes", version, weight=weight, is_dry_run=is_dry_run) == expected
