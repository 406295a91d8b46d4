"""Free ports of loopback for servers that are told theirs some seconds before they listen."""

import itertools
import os
import socket

# Below the ports that Linux and macOS give to outgoing connections, so that no connection takes one before the server
# listens; and apart from those that the emulator gives to containers.
_FIRST, _COUNT = 10_000, 10_000
_PORTS_OF_A_PROCESS = 16  # processes that start together have neighbouring ids, and so different ports
_numbers = itertools.count()


def free_port() -> int:
    """Return a port on which nothing listens. The same one is not chosen again before all others were.

    Raises OSError if there is none.
    """
    start = os.getpid() * _PORTS_OF_A_PROCESS
    for number in itertools.islice(_numbers, _COUNT):
        port = _FIRST + (start + number) % _COUNT
        if _is_free(port):
            return port
    raise OSError(f"no free port on loopback between {_FIRST} and {_FIRST + _COUNT - 1}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
