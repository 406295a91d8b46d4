"""Blob storage: block blobs in containers of one account, protected by shared access signatures.

The account's URL is a path on the emulator's own host. azure-ai-ml builds `https://{accountName}.blob.{suffix}`, and a
plain Debian does not resolve `*.localhost`; see `account_name`.
"""

import base64
import hashlib
import hmac
import re
import shutil
from asyncio import to_thread
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, unquote, urlencode, urlsplit
from uuid import uuid4

from rollway.emulator.blob import errors
from rollway.emulator.core.clock import Clock, format_http_date, format_iso_seconds
from rollway.emulator.core.errors import Document
from rollway.emulator.core.store import Store

ACCOUNT = "devstore"
SUFFIX = "core.windows.net"
# Path of azure-ai-ml's `https://{accountName}.blob.{suffix}` when `accountName` is `Blobs.account_name`.
ROOT = f"/blob/{ACCOUNT}.blob.{SUFFIX}"
SAS_VERSION = "2024-11-04"
MAX_PUT_BYTES = 5000 * 1024 * 1024  # limit of Put Blob; Put Block allows 4000 MiB
MAX_NAME_CHARACTERS, MAX_PART_BYTES = 1024, 255  # Azure's limit on a name; the disk's limit on a file name


class Blobs:
    """The storage account. Content is in files with random names in `folder`, so blob names are never paths there."""

    def __init__(self, store: Store, folder: Path, key: str, clock: Clock, url: str) -> None:
        self._store, self._folder, self._key, self._clock, self._url = store, folder, key.encode(), clock, url
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    # Addresses and signatures

    @property
    def account_name(self) -> str:
        """The datastore's `accountName`: azure-ai-ml adds `https://` before it and `.blob.{suffix}` after it."""
        return f"{self._url.removeprefix('https://')}/blob/{ACCOUNT}"

    def container_url(self, container: str) -> str:
        return f"{self._url}{ROOT}/{container}"

    def shared_access_signature(self, container: str, permissions: str, seconds: float) -> str:
        """Return a query string that grants `permissions` (letters of racwdl) on one container for `seconds`."""
        until = format_iso_seconds(self._clock.now() + seconds)
        fields = {"sv": SAS_VERSION, "se": until, "sr": "c", "sp": permissions, "spr": "https"}
        return urlencode({**fields, "sig": self._signature(container, fields["se"], permissions)})

    def check_signature(self, container: str, query: dict[str, str], needed: str) -> None:
        """Raise the 403 of storage unless the query has a valid signature with one of the permissions `needed`."""
        signature, until, permissions = (query.get(name, "") for name in ("sig", "se", "sp"))
        if not hmac.compare_digest(signature.encode(), self._signature(container, until, permissions).encode()):
            raise errors.storage_authentication_failed("Signature did not match.")
        if until <= format_iso_seconds(self._clock.now()):
            raise errors.storage_authentication_failed(
                f"Signature not valid in the specified time frame: expired {until}."
            )
        if not set(needed) & set(permissions):
            raise errors.storage_permission_mismatch(needed)

    def _signature(self, container: str, until: str, permissions: str) -> str:
        text = "\n".join((ACCOUNT, container, until, permissions))
        return base64.b64encode(hmac.digest(self._key, text.encode(), hashlib.sha256)).decode()

    def parse_url(self, url: str) -> tuple[str, str]:
        """Return the container and blob name (or prefix) of a URL of this account. Raise ValueError for other URLs."""
        path = unquote(urlsplit(url).path)
        # azure-ai-ml names a build context with `urljoin`, which drops the account that is the last part of our URL.
        root = ROOT if path.startswith(f"{ROOT}/") else ROOT.rpartition("/")[0]
        if not path.startswith(f"{root}/"):
            raise ValueError(f"{url.partition('?')[0]} is not in the emulator's storage account")
        container, _, name = path.removeprefix(f"{root}/").partition("/")
        return container, name.strip("/")

    # Contents

    def new_content_path(self) -> Path:
        """Return a path for new content, to be written and then committed."""
        return self._folder / uuid4().hex

    async def write(self, chunks: AsyncIterator[bytes], limit_bytes: int = MAX_PUT_BYTES) -> tuple[Path, str]:
        """Store a body and return its file and the base64 MD5 of the content.

        If the body breaks off, the file is deleted. Raises RequestBodyTooLarge beyond `limit_bytes`.
        """
        path = self.new_content_path()
        digest, size = hashlib.md5(usedforsecurity=False), 0
        try:
            with path.open("wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > limit_bytes:
                        raise errors.blob_too_large(limit_bytes)
                    file.write(chunk)
                    digest.update(chunk)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path, base64.b64encode(digest.digest()).decode()

    def commit(self, container: str, name: str, content: Path, md5: str | None, content_type: str) -> Document:
        """Make a written file the content of a blob, and return the blob's properties."""
        before = self._store.blob(container, name)
        now = self._clock.now()
        document: Document = {
            "file": content.name,
            "size": content.stat().st_size,
            "etag": f'"0x{uuid4().hex[:15].upper()}"',
            "modified": format_http_date(now),
            "created": format_http_date(now) if before is None else before["created"],
            "content_type": content_type,
            "md5": md5,
            "metadata": {},
            "blocks": [],
        }
        self._store.put_blob(container, name, document)
        if before is not None and before.get("file"):
            (self._folder / before["file"]).unlink(missing_ok=True)
        return document

    def commit_blocks(self, container: str, name: str, block_ids: list[str], content_type: str) -> Document:
        """Make the staged blocks with these ids, in this order, the content of a blob."""
        staged = {block: self._block_path(container, name, block) for block in block_ids}
        if not all(path.is_file() for path in staged.values()):
            raise errors.invalid_block_list()
        target = self.new_content_path()
        with target.open("wb") as whole:
            for block in block_ids:
                with staged[block].open("rb") as part:
                    shutil.copyfileobj(part, whole)
        document = self.commit(container, name, target, None, content_type)
        for path in staged.values():
            path.unlink(missing_ok=True)
        return document

    def stage_block(self, container: str, name: str, block_id: str, content: Path) -> None:
        """Make a written file a block, to be committed later."""
        content.rename(self._block_path(container, name, block_id))

    def _block_path(self, container: str, name: str, block_id: str) -> Path:
        text = "\n".join((container, name, block_id))
        return self._folder / f"block-{hashlib.sha256(text.encode()).hexdigest()}"

    def append(self, container: str, name: str, content: bytes) -> None:
        """Append to a blob. Create it if it does not exist."""
        if not self.exists(container, name):
            path = self.new_content_path()
            path.touch()
            self.commit(container, name, path, None, "application/octet-stream")
        document = self.get(container, name)
        with self.content_path(document).open("ab") as file:
            file.write(content)
        changes = {"size": document["size"] + len(content), "modified": format_http_date(self._clock.now())}
        self._store.put_blob(container, name, {**document, **changes, "etag": f'"0x{uuid4().hex[:15].upper()}"'})

    def set_metadata(self, container: str, name: str, metadata: dict[str, str]) -> Document:
        document = {**self.get(container, name), "metadata": metadata, "etag": f'"0x{uuid4().hex[:15].upper()}"'}
        self._store.put_blob(container, name, document)
        return document

    def get(self, container: str, name: str) -> Document:
        """Return the properties of a blob. Raises BlobNotFound."""
        document = self._store.blob(container, name)
        if document is None:
            raise errors.blob_not_found()
        return document

    def exists(self, container: str, name: str) -> bool:
        return self._store.blob(container, name) is not None

    def content_path(self, document: Document) -> Path:
        return self._folder / str(document["file"])

    def list_blobs(self, container: str, prefix: str = "") -> list[tuple[str, Document]]:
        return self._store.blobs(container, prefix)

    def delete(self, container: str, name: str) -> None:
        document = self.get(container, name)
        self._store.delete_blob(container, name)
        self.content_path(document).unlink(missing_ok=True)

    def copy_all(self, container: str, name: str, target: str) -> int:
        """Copy a blob, or all blobs below a folder name, to `target`. Return the number of copies."""
        found = self.list_blobs(container, f"{name}/" if name else "")
        if name and self.exists(container, name):
            found = [(name, self.get(container, name))]
        for blob, document in found:
            content = self.new_content_path()
            content.hardlink_to(self.content_path(document))  # content never changes once it is written
            self.commit(container, target + blob[len(name) :], content, document["md5"], document["content_type"])
        return len(found)

    def clear(self) -> None:
        """Delete all content."""
        for path in self._folder.iterdir():
            path.unlink(missing_ok=True)

    async def download(self, container: str, name: str, target: Path) -> Path:
        """Copy a blob, or all blobs below a folder name, into the folder `target`. Return the copied file or folder.

        The copy has the last part of `name` as its name. An empty name copies the whole container to `target` itself.
        Raises FileNotFoundError if nothing has that name, ValueError if the blobs cannot be files.
        """
        root = target / name.rpartition("/")[2] if name else target
        if name and self.exists(container, name):
            copies = [(self.content_path(self.get(container, name)), root)]
        else:
            found = self.list_blobs(container, f"{name}/" if name else "")
            copies = [(self.content_path(one), root / blob[len(name) :].lstrip("/")) for blob, one in found]
        if not copies:
            raise FileNotFoundError(f"{self.container_url(container)}/{quote(name)} does not exist")
        try:
            await to_thread(_copy_all, copies)
        except OSError as exc:  # for example, one blob has the name of another blob's folder
            raise ValueError(f"the blobs below {name!r} cannot be stored as files: {exc}") from exc
        return root


def is_blob_name(name: str) -> bool:
    """Return True if a name can be a relative path, because containers get blobs as files."""
    parts = name.split("/")
    return len(name) <= MAX_NAME_CHARACTERS and not any(
        part in ("", ".", "..") or len(part.encode()) > MAX_PART_BYTES or re.search(r"[\x00-\x1f\x7f]", part)
        for part in parts
    )


def _copy_all(copies: list[tuple[Path, Path]]) -> None:
    for source, target in copies:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
