"""Style, script and security policy of the page. Nothing is loaded from elsewhere."""

import base64
import hashlib
from pathlib import Path

STYLE, SCRIPT = (Path(__file__).with_name(f"page.{kind}").read_text() for kind in ("css", "js"))

_DIGEST = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_DIGEST}'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
