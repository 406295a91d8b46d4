"""Free ports on loopback for programs that can be told a port, but not be handed a socket."""

import itertools
import random
import socket

# Below the ports that Linux and macOS give to outgoing connections, so that no connection takes one between the choice
# and the start of the program.
_FIRST, _LAST = 20_000, 29_999
_START = random.randrange(_FIRST, _LAST + 1)  # noqa: S311 - not a secret; two emulators rarely choose the same
_CANDIDATES = itertools.cycle([*range(_START, _LAST + 1), *range(_FIRST, _START)])


def choose_ports(count: int) -> list[int]:
    """Return free ports of loopback. The same one is not chosen again before all others were.

    Raises OSError if there are not enough.
    """
    ports: list[int] = []
    for port in itertools.islice(_CANDIDATES, _LAST - _FIRST + 1):
        if len(ports) == count:
            break
        if _is_free(port):
            ports.append(port)
    if len(ports) < count:
        raise OSError(f"no free port on loopback between {_FIRST} and {_LAST}")
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
