"""Artifacts of a rollout, by kind and rollout."""

from prefect.artifacts import acreate_markdown_artifact


async def publish_markdown(kind: str, rollout: str, markdown: str, description: str) -> None:
    """Store a Markdown artifact under the key `<kind>-<rollout>`; the key's page lists its versions."""
    await acreate_markdown_artifact(markdown, key=f"{kind}-{artifact_key(rollout)}", description=description)


def artifact_key(name: str) -> str:
    """Return a rollout's name as Prefect allows it in artifact keys: lower-case letters, digits and dashes."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name.lower())
