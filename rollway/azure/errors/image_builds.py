"""Builds of environments that failed: the machine that builds, the network, the registry, or the files. Only data.

Azure's text holds the end of the build log, so the words are those of pip, conda, uv and of their operating system.
"""

from rollway.azure.errors.rule import Rule
from rollway.errors import Cause

_AGAIN = "then run the rollout again"
_NO_CONNECTION = (
    r"dns error|name resolution|failed to lookup address|name or service not known|could not resolve host"
    r"|nodename nor servname|getaddrinfo failed|no such host|network is unreachable|no route to host|tcp connect error"
    r"|connection (refused|reset|aborted)|failed to establish a new connection|newconnectionerror|condahttperror"
    r"|connection failed for url|error sending request for url|tunnel connection failed|proxyerror"
)
_INDEX = r"(httpsconnectionpool|/simple/|/conda-forge/)"
_TIMED_OUT = r"tim(ed|e)[ -]?out"
# The container registry has rules of its own.
_NO_INDEX = (
    rf"^(?!.*(registry|\bacr\b|azurecr))"
    rf".*({_NO_CONNECTION}|{_INDEX}.{{0,200}}{_TIMED_OUT}|{_TIMED_OUT}.{{0,200}}{_INDEX})"
)

IMAGE_BUILDS = (
    Rule(
        "ImageBuildFailure InternalServerError",
        Cause.QUOTA,
        "the disk of the machine that builds the environment is full: free some space there (locally that is this "
        f"machine: ~/.cache/rollway and the temporary folder), or make the environment smaller; {_AGAIN}",
        r"no space left on device|disk quota exceeded|\benospc\b|not enough space|disk (is )?full",
    ),
    Rule(
        "ImageBuildFailure",
        Cause.PERMANENT,
        "the machine that builds the environment does not trust the certificate of the package index: if a proxy opens "
        f"TLS there, give it the proxy's certificate (SSL_CERT_FILE); {_AGAIN}",
        r"certificate_verify_failed|certificate verify failed|invalid peer certificate|unknownissuer|self.signed cert",
    ),
    Rule(
        "ImageBuildFailure",
        Cause.TRANSIENT,
        "the machine that builds the environment cannot reach the package index: check its network, DNS and proxy "
        f"(HTTPS_PROXY), and in a private network that it may reach the index and the conda channels; {_AGAIN}",
        _NO_INDEX,
    ),
    Rule(
        "ImageBuildFailure",
        Cause.TRANSIENT,
        "the build timed out: run it again once; if that fails too, make the environment smaller",
        _TIMED_OUT,
    ),
    Rule(
        "ImageBuildFailure",
        Cause.PERMANENT,
        "the registry's keys are out of sync: run `az ml workspace sync-keys --name <workspace>`, then run it again",
        r"(registry|\bacr\b).{0,120}(unauthori[sz]ed|authenticat|credential|denied)"
        r"|(unauthori[sz]ed|authenticat|credential|denied).{0,120}(registry|\bacr\b)",
    ),
    Rule(
        "ImageBuildFailure",
        Cause.TRANSIENT,
        "the build could not reach the registry: run it again once; in a private network give the workspace a "
        "compute for builds (`az ml workspace update --image-build-compute`)",
        r"(registry|\bacr\b).{0,80}(unreachable|reach|connect|communicat|network)"
        r"|(reach|connect|communicat).{0,80}(registry|\bacr\b)",
    ),
    Rule(
        "ImageBuildFailure",
        Cause.PERMANENT,
        "fix the environment's conda file or Dockerfile (Azure's text names what failed) and run the rollout again",
    ),
)
