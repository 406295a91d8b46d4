"""Read by each Python process of a custom container when it starts: a server gets its instance's own port on loopback.

In Azure a container has a network of its own, where each instance can listen on the same port of all addresses. On this
machine the emulator chooses a free port for each of them, and names the pairs in the variable ROLLWAY_PORTS
(`8501=20017,8502=20018`). A socket that binds the first number of a pair gets the second one instead, and one that
binds all addresses gets loopback only. Everything else is as the program says.

It runs on Python 3.8 and later, and uses the standard library only.
"""

import os
import socket
from typing import Any

_PORTS = {int(pair.split("=")[0]): int(pair.split("=")[1]) for pair in os.environ["ROLLWAY_PORTS"].split(",")}
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - compared, to replace them
_bind = socket.socket.bind


def _bind_on_loopback(self: Any, address: Any, /) -> None:
    """Stand in for `socket.bind`."""
    if self.family in (socket.AF_INET, socket.AF_INET6) and self.type == socket.SOCK_STREAM:
        host, port, *rest = address
        if host in _EVERYWHERE or port in _PORTS:
            address = (_loopback(self), _PORTS.get(port, port), *rest)
    _bind(self, address)


def _loopback(listener: socket.socket) -> str:
    if listener.family == socket.AF_INET:
        return "127.0.0.1"
    # A socket for both families must be reachable at 127.0.0.1 too. One for IPv6 only has another beside it.
    return "::1" if listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) else "::ffff:127.0.0.1"


socket.socket.bind = _bind_on_loopback  # type: ignore[method-assign]
