"""Fixtures for all tests; those of `tests.world` start servers only for the tests that ask for them."""

pytest_plugins = ["tests.world", "tests.lab"]
