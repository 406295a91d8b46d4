"""The ports of a local stack."""

import socket

import pytest

from rollway.errors import ConfigurationError
from rollway.local.stack import require_free


def test_a_port_in_use_is_named_with_another_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ConfigurationError, match=f"port {port} cannot be used") as raised:
            require_free(port)

    assert "in use" in str(raised.value.why)
    assert f"PORT={port + 1}" in str(raised.value.hint)


def test_a_free_port_passes() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    require_free(port)
