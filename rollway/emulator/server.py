"""Server process of one emulator on a state directory: lock, port, TLS, signals, and variables for its clients."""

import asyncio
import ipaddress
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import uvicorn

from rollway.emulator.app import CLOUD, build_app
from rollway.emulator.certificates import Certificates, provide_certificates
from rollway.emulator.core.clock import Profile
from rollway.emulator.core.seed import Seed, load_seed
from rollway.emulator.core.store import Store
from rollway.emulator.folder import CONNECTION, DATABASE, hold_lock
from rollway.emulator.runtime.mapping import read_mapping
from rollway.emulator.state import create_emulator

log = logging.getLogger("rollway.emulator")

SECRET_VARIABLE, MIN_SECRET_CHARACTERS = "ROLLWAY_EMULATOR_SECRET", 16
# Longer than the polling intervals of clients. Otherwise the server would close connections as they send a request.
KEEP_ALIVE_SECONDS = 75
GRACE_SECONDS = 10
# Variables that point a shell at an emulator. They are removed, so that no process of this emulator uses them.
CLIENT_PREFIXES = ("AZURE_", "AZUREML_CURRENT_CLOUD", "ARM_CLOUD_")


class NotSafe(Exception):
    """The emulator would be open to other machines without a secret."""


def run(
    folder: Path,
    *,
    port: int,
    profile: Profile,
    seed: Path | None,
    images: Path | None,
    on_ready: Callable[[str], None],
    host: str,
    public_name: str | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then stop all containers.

    Args:
        port: 0 for the port of the last start if it is free, else any free port.
        seed: Seed file.
        images: Mapping file of more container images.
        on_ready: Called with the URL when the emulator is ready.
        host: IPv4 address. Other than loopback needs a public name, and a secret in ROLLWAY_EMULATOR_SECRET.
        public_name: Host name that other machines use.

    Raises:
        NotSafe: The host needs a public name or a secret.
        StateInUse: Another emulator runs on `folder`.
        SeedError: The seed file is invalid.
        MappingError: The mapping file is invalid.
        OSError: The port cannot be used.
    """
    secret = os.environ.pop(SECRET_VARIABLE, "")  # removed, so that containers do not inherit it
    check_exposure(host, public_name, secret)
    roots = next((os.environ[name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if os.environ.get(name)), None)
    for name in [name for name in os.environ if name.startswith(CLIENT_PREFIXES)]:
        del os.environ[name]
    if images is not None:
        read_mapping(images)  # it is read again for each build
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with hold_lock(folder), closing(Store(folder / DATABASE)) as store:
        loaded = load_seed(store, seed)
        store.set_setting(CONNECTION, "")  # that of the last start
        files = provide_certificates(store, folder / "tls", Path(roots) if roots else None, public_name)
        with _listen(store, host, port) as listener:
            url = f"https://{public_name or 'localhost'}:{listener.getsockname()[1]}"
            emulator = create_emulator(
                folder,
                store,
                loaded,
                url=url,
                profile=profile,
                images=images,
                secret=secret,
                bundle=files.bundle,
            )
            config = uvicorn.Config(
                build_app(emulator),
                ssl_keyfile=files.server,
                ssl_certfile=files.server,
                ws="none",
                proxy_headers=False,
                server_header=False,
                date_header=False,  # by the machine's clock; ours is by the emulator's
                access_log=False,
                log_config=None,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )

            def ready() -> None:
                store.set_setting("port", url.rpartition(":")[2])
                store.set_setting(CONNECTION, json.dumps(client_environment(url, loaded, files)))
                on_ready(url)

            # After its shutdown, uvicorn raises the signal again for the handler that was set before.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: sys.exit(0))
            asyncio.run(_Server(config, ready).serve([listener]))


def check_exposure(host: str, public_name: str | None, secret: str) -> None:
    """Raise NotSafe unless `host` is loopback, or a public name and a secret are given."""
    try:
        is_loopback = ipaddress.IPv4Address(host).is_loopback
    except ValueError as exc:
        raise NotSafe(f"{host!r} is not an IPv4 address") from exc
    if is_loopback and public_name is None:
        return
    missing = [] if public_name else ["--public-name with the host name that other machines use"]
    if len(secret) < MIN_SECRET_CHARACTERS:
        missing.append(f"{SECRET_VARIABLE} with a secret of at least {MIN_SECRET_CHARACTERS} characters")
    if missing:
        reason = "anyone who reaches the emulator can run code on this machine"
        raise NotSafe(f"refused to listen on {host}: {reason}. Set {' and '.join(missing)}")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop without waiting for idle connections, because TLS would wait for their close message."""
        for connection in self.server_state.connections:
            cycle = getattr(connection, "cycle", None)
            transport = getattr(connection, "transport", None)
            if transport is not None and (cycle is None or cycle.response_complete):
                transport.abort()
        await super().shutdown(sockets)


def client_environment(url: str, seed: Seed, files: Certificates) -> dict[str, str]:
    """Return the variables for Azure clients of the emulator, for its first principal and first workspace."""
    principal, workspace = seed.principals[0], seed.workspaces[0]
    return {
        "ARM_CLOUD_METADATA_URL": f"{url}/metadata/endpoints?api-version=2019-05-01",
        "AZUREML_CURRENT_CLOUD": CLOUD,
        "AZURE_AUTHORITY_HOST": url,
        "REGISTRY_DISCOVERY_ENDPOINT_URL": f"{url}/",
        "REQUESTS_CA_BUNDLE": str(files.bundle),
        "SSL_CERT_FILE": str(files.bundle),
        "AZURE_TENANT_ID": seed.tenant_id,
        "AZURE_CLIENT_ID": principal.client_id,
        "AZURE_CLIENT_SECRET": principal.client_secret,
        "AZURE_SUBSCRIPTION_ID": seed.subscription_id,
        "AZURE_RESOURCE_GROUP": workspace.resource_group,
        "AZUREML_WORKSPACE": workspace.name,
    }


@contextmanager
def _listen(store: Store, host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket bound to the port, or for port 0 to the port of the last start, else to any free port."""
    wanted = [port] if port else [int(store.setting("port") or 0), 0]
    for number in wanted:
        # IPPROTO_TCP is explicit, because asyncio sets TCP_NODELAY only on sockets that have it.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
        except OSError:
            listener.close()
            if number == wanted[-1]:
                raise
            continue
        with listener:
            yield listener
        return
