"""Run uv with the settings of pip, whose variables and configuration files it does not read: `uv_like_pip.py pip sync`.

The Makefile runs it before anything is installed, so it needs nothing but Python and pip.
"""

import ast
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

SECTIONS = ("global", "install", ":env:")  # later ones win


def main() -> None:
    """Replace this process by uv with the given arguments."""
    uv = Path(sys.executable).with_name("uv")
    os.execve(uv, [str(uv), *sys.argv[1:]], {**os.environ, **pip_variables()})  # noqa: S606


def pip_variables() -> dict[str, str]:
    """Return the variables that give uv the settings of this Python's pip, without those that are set already."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    settings = parse(done.stdout, os.environ)
    found = uv_variables(settings, system_certificates=ssl.get_default_verify_paths().cafile is not None)
    return {name: value for name, value in found.items() if name not in os.environ}


def parse(listing: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that pip uses to install, from the output of `pip config list` and variables of requests."""
    sections: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listing.splitlines():
        key, is_setting, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if is_setting and section in sections:
            sections[section][name] = str(ast.literal_eval(value))
    settings = {name: value for section in SECTIONS for name, value in sections[section].items()}
    if bundle := environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE"):
        settings.setdefault("cert", bundle)
    return settings


def uv_variables(
    settings: Mapping[str, str], *, system_certificates: bool, exists: Callable[[str], bool] = os.path.exists
) -> dict[str, str]:
    """Return the settings of pip as variables of uv. Local places that do not exist are left out, as pip does.

    Args:
        system_certificates: The machine has certificates that pip trusts, too.
        exists: Returns True for a local path that exists.
    """
    extra = _places(settings, "extra-index-url", exists)
    found = {
        "UV_DEFAULT_INDEX": settings.get("index-url", ""),
        "UV_INDEX": " ".join(extra),
        # pip takes the best version of all indexes, and uv that of the first; the lock's hashes decide in any case.
        "UV_INDEX_STRATEGY": "unsafe-best-match" if extra else "",
        "UV_FIND_LINKS": ",".join(_places(settings, "find-links", exists)),
        "UV_NO_INDEX": "true" if settings.get("no-index", "").lower() in ("1", "true", "yes", "on") else "",
        "UV_INSECURE_HOST": " ".join(settings.get("trusted-host", "").split()),
        "UV_SYSTEM_CERTS": "true" if system_certificates and "cert" not in settings else "",
        "SSL_CERT_FILE": settings.get("cert", ""),
        "SSL_CLIENT_CERT": settings.get("client-cert", ""),
        "ALL_PROXY": settings.get("proxy", ""),
    }
    return {name: value for name, value in found.items() if value}


def _places(settings: Mapping[str, str], name: str, exists: Callable[[str], bool]) -> list[str]:
    return [place for place in settings.get(name, "").split() if _may_exist(place, exists)]


def _may_exist(place: str, exists: Callable[[str], bool]) -> bool:
    url = urlsplit(place)
    if url.scheme not in ("", "file"):
        return True
    return exists(unquote(url.path) if url.scheme else os.path.expanduser(place))


if __name__ == "__main__":
    main()
