"""Foreign texts, such as container logs and the errors of Azure's SDK, without secrets and colours."""

import re

MASK = "***"
# ECMA-48: control sequences, such as colours, and operating system commands, such as links and window titles.
_CONTROLS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
_NAMED = (
    r"account_?key|shared_?access_?(?:key|signature)|(?:primary|secondary|api|access|storage|subscription|registry)[_-]?key"
    r"|client_?secret|secret|password|passwd|pwd|(?:access|refresh|id|auth|sas|bearer)[_-]?token|token"
)
# The part before a secret is kept, so that a reader sees its kind.
_SECRETS = (
    re.compile(r"(?P<kept>\b(?:Bearer|Basic)\s+)(?!\*)[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE),
    # Signed addresses: a storage SAS, and Azure's own addresses of operations.
    re.compile(r"(?P<kept>(?:[?&;]|\b|%26)(?:sig|signature)(?:=|%3D))[^&\s\"'<>,;)]+", re.IGNORECASE),
    re.compile(r"(?P<kept>[?&](?:s|h|c|code)=)[A-Za-z0-9%+/=_-]{16,}"),
    re.compile(r"(?P<kept>://[^\s/:@]+:)[^\s/@]+(?=@)"),
    re.compile(rf"(?P<kept>(?:{_NAMED})[\"']?(?:=|\s*[=:]\s*[\"'])[\"']?)(?!\*)[^\s\"',;&}}]{{4,}}", re.IGNORECASE),
    # Text after a colon may be prose ("InvalidToken: expired"), but prose has no digits.
    re.compile(rf"(?P<kept>(?:{_NAMED})\s*:\s*)(?!\*)(?=[^\s]*\d)[^\s\"',;&}}]{{6,}}", re.IGNORECASE),
    # Without a name beside them: a JSON Web Token, the keys of storage accounts, and Azure's newer keys.
    re.compile(r"(?P<kept>)\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]+)?"),
    re.compile(r"(?P<kept>)(?<![\w+/])[A-Za-z0-9+/]{86}=="),
    re.compile(r"(?P<kept>)\b[A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{26}\b"),
)


def mask(text: str) -> str:
    """Return the text with everything that looks like a key, token, password or signature replaced by `***`.

    Control sequences of terminals go first: one inside a secret would hide it.
    """
    text = _CONTROLS.sub("", text)
    for secret in _SECRETS:
        text = secret.sub(rf"\g<kept>{MASK}", text)
    return text
