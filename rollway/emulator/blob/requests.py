"""REST operations of blob storage that Azure's clients use to upload and download assets."""

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response

from rollway.emulator.blob import errors
from rollway.emulator.blob.blobs import MAX_PUT_BYTES, SAS_VERSION, Blobs, is_blob_name
from rollway.emulator.core.errors import ArmError, Document
from rollway.emulator.login.identity import STORAGE

MAX_LIST_BYTES = 16 * 1024 * 1024  # enough for 50,000 block ids, the limit of a block list
OCTET_STREAM = "application/octet-stream"


async def serve_blob(request: Request) -> Response:
    """Handle any request to the storage account: `/{container}` or `/{container}/{blob}`."""
    blobs: Blobs = request.app.state.emulator.blobs
    container, _, name = request.path_params["path"].partition("/")
    query = dict(request.query_params)
    if request.method == "PUT" and not is_blob_name(name):
        raise errors.invalid_blob_name(name)
    _authorize(request, blobs, container, query)
    _check_length(request)
    if not name:
        return _container_response(request, blobs, container, query)
    match request.method, query.get("comp"):
        case "PUT", None:
            return await _put_blob(request, blobs, container, name)
        case "PUT", "block":
            content, md5 = await _store_body(request, blobs)
            blobs.stage_block(container, name, query.get("blockid", ""), content)
            return Response(status_code=201, headers={"Content-MD5": md5, **_common_headers()})
        case "PUT", "blocklist":
            return await _put_block_list(request, blobs, container, name)
        case "PUT", "metadata":
            return Response(
                status_code=200, headers=_blob_headers(blobs.set_metadata(container, name, _read_metadata(request)))
            )
        case "GET" | "HEAD", None | "metadata":
            return _get_blob(request, blobs, container, name)
        case "DELETE", None:
            blobs.delete(container, name)
            return Response(status_code=202, headers=_common_headers())
    raise errors.storage_not_emulated(request.method, f"comp={query.get('comp')} on a blob")


def _authorize(request: Request, blobs: Blobs, container: str, query: dict[str, str]) -> None:
    needed = {"GET": "r", "HEAD": "r", "PUT": "cw", "DELETE": "d"}.get(request.method, "w")
    if query.get("comp") == "list":
        needed = "l"
    if "sig" in query:
        return blobs.check_signature(container, query, needed)
    if authorization := request.headers.get("authorization"):
        emulator = request.app.state.emulator
        try:
            client_id = emulator.identity.check_token(authorization, (STORAGE, f"{STORAGE}/"))
        except ArmError as exc:
            raise errors.StorageError(401, "InvalidAuthenticationInfo", exc.message) from exc
        # Identities that the seed does not know are those of endpoints. Azure makes them Storage Blob Data Readers.
        if needed not in ("r", "l") and emulator.seed.principal(client_id) is None:
            raise errors.storage_permission_mismatch(needed)
        return None
    raise errors.storage_authentication_failed("The request holds neither a signature nor a token.")


async def _put_blob(request: Request, blobs: Blobs, container: str, name: str) -> Response:
    kind = request.headers.get("x-ms-blob-type")
    if kind != "BlockBlob":
        raise errors.storage_not_emulated("PUT", f"x-ms-blob-type {kind}")
    _check_absent(request, blobs, container, name)
    content, md5 = await _store_body(request, blobs)
    try:
        _check_absent(request, blobs, container, name)  # checked again: another upload may have ended in the meantime
    except errors.StorageError:
        content.unlink()
        raise
    document = blobs.commit(container, name, content, md5, request.headers.get("x-ms-blob-content-type", OCTET_STREAM))
    if metadata := _read_metadata(request):
        document = blobs.set_metadata(container, name, metadata)
    return Response(status_code=201, headers={**_blob_headers(document), "Content-MD5": md5})


async def _put_block_list(request: Request, blobs: Blobs, container: str, name: str) -> Response:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_LIST_BYTES:
            raise errors.blob_too_large(MAX_LIST_BYTES)
    _check_absent(request, blobs, container, name)
    try:
        blocks = [element.text or "" for element in ElementTree.fromstring(bytes(body))]  # noqa: S314 - expat >= 2.4.1 caps entities
    except ElementTree.ParseError as exc:
        raise errors.invalid_block_list() from exc
    content_type = request.headers.get("x-ms-blob-content-type", OCTET_STREAM)
    document = blobs.commit_blocks(container, name, blocks, content_type)
    if metadata := _read_metadata(request):
        document = blobs.set_metadata(container, name, metadata)
    return Response(status_code=201, headers=_blob_headers(document))


def _check_length(request: Request) -> None:
    """Raise RequestBodyTooLarge if the Content-Length exceeds the limit, before the body is read."""
    length = request.headers.get("content-length", "0")
    limit = MAX_LIST_BYTES if request.query_params.get("comp") == "blocklist" else MAX_PUT_BYTES
    if not (length.isascii() and length.isdigit()) or int(length) > limit:
        raise errors.blob_too_large(limit)


async def _store_body(request: Request, blobs: Blobs) -> tuple[Path, str]:
    try:
        return await blobs.write(request.stream())
    except ClientDisconnect as exc:
        raise errors.missing_body() from exc


def _check_absent(request: Request, blobs: Blobs, container: str, name: str) -> None:
    if request.headers.get("if-none-match") == "*" and blobs.exists(container, name):
        raise errors.blob_already_exists()


def _get_blob(request: Request, blobs: Blobs, container: str, name: str) -> Response:
    document = blobs.get(container, name)
    headers = {
        **_blob_headers(document),
        "x-ms-blob-type": "BlockBlob",
        "x-ms-creation-time": document["created"],
        "x-ms-lease-state": "available",
        "x-ms-lease-status": "unlocked",
        "Accept-Ranges": "bytes",
        **{f"x-ms-meta-{key}": value for key, value in document["metadata"].items()},
    }
    if document["md5"]:
        headers["x-ms-blob-content-md5" if request.method == "GET" else "Content-MD5"] = document["md5"]
    size, content_type = int(document["size"]), document["content_type"]
    if request.method == "HEAD":
        return Response(status_code=200, headers={**headers, "Content-Length": str(size)}, media_type=content_type)
    wanted = request.headers.get("x-ms-range") or request.headers.get("range")
    if wanted is None:
        return FileResponse(blobs.content_path(document), 200, headers, content_type)
    first, last = _parse_range(wanted, size)
    with blobs.content_path(document).open("rb") as file:
        file.seek(first)
        content = file.read(last - first + 1)
    return Response(content, 206, {**headers, "Content-Range": f"bytes {first}-{last}/{size}"}, content_type)


def _parse_range(wanted: str, size: int) -> tuple[int, int]:
    start, dash, end = wanted.removeprefix("bytes=").partition("-")
    if not dash or not re.fullmatch(r"[0-9]{1,18}", start) or not re.fullmatch(r"[0-9]{0,18}", end):
        raise errors.invalid_range()
    first, last = int(start), min(int(end or size), size - 1)
    if first > last:
        raise errors.invalid_range()
    return first, last


def _container_response(request: Request, blobs: Blobs, container: str, query: dict[str, str]) -> Response:
    if request.method in ("GET", "HEAD") and query.get("restype") == "container":
        if query.get("comp") == "list":
            return Response(
                _render_list(blobs, container, query.get("prefix", "")), 200, _common_headers(), "application/xml"
            )
        if query.get("comp") is None:
            return Response(status_code=200, headers=_common_headers())
    raise errors.storage_not_emulated(request.method, f"comp={query.get('comp')} on a container")


def _render_list(blobs: Blobs, container: str, prefix: str) -> str:
    """Return the XML list of all blobs with a prefix. Folders of assets are small, so there is no paging."""
    rows = "".join(
        f"<Blob><Name>{escape(name)}</Name><Properties><Creation-Time>{one['created']}</Creation-Time>"
        f"<Last-Modified>{one['modified']}</Last-Modified><Etag>{escape(one['etag'])}</Etag>"
        f"<Content-Length>{one['size']}</Content-Length><Content-Type>{escape(one['content_type'])}</Content-Type>"
        f"<BlobType>BlockBlob</BlobType></Properties></Blob>"
        for name, one in blobs.list_blobs(container, prefix)
    )
    head = f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="{escape(container)}">'
    return f"{head}<Prefix>{escape(prefix)}</Prefix><Blobs>{rows}</Blobs><NextMarker /></EnumerationResults>"


def _read_metadata(request: Request) -> dict[str, str]:
    prefix = "x-ms-meta-"
    return {key[len(prefix) :]: value for key, value in request.headers.items() if key.startswith(prefix)}


def _blob_headers(document: Document) -> dict[str, str]:
    return {
        "ETag": document["etag"],
        "Last-Modified": document["modified"],
        "x-ms-request-server-encrypted": "true",
        **_common_headers(),
    }


def _common_headers() -> dict[str, str]:
    return {"x-ms-version": SAS_VERSION}
