"""Errors of blob storage."""

from xml.sax.saxutils import escape

from starlette.responses import Response

from rollway.emulator.core.errors import EmulatedError


class StorageError(EmulatedError):
    """An error of blob storage."""

    def response(self) -> Response:
        head = '<?xml version="1.0" encoding="utf-8"?>'
        body = f"{head}<Error><Code>{self.code}</Code><Message>{escape(self.message)}</Message></Error>"
        return Response(body, self.status, {"x-ms-error-code": self.code}, "application/xml")


def storage_authentication_failed(reason: str) -> StorageError:
    message = f"Server failed to authenticate the request. {reason}"
    return StorageError(403, "AuthenticationFailed", message)


def storage_permission_mismatch(needed: str) -> StorageError:
    message = f"This request is not authorized to perform this operation using this permission: '{needed}' is needed."
    return StorageError(403, "AuthorizationPermissionMismatch", message)


def blob_not_found() -> StorageError:
    return StorageError(404, "BlobNotFound", "The specified blob does not exist.")


def blob_already_exists() -> StorageError:
    return StorageError(409, "BlobAlreadyExists", "The specified blob already exists.")


def invalid_block_list() -> StorageError:
    return StorageError(400, "InvalidBlockList", "The specified block list is invalid.")


def invalid_range() -> StorageError:
    return StorageError(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")


def invalid_blob_name(name: str) -> StorageError:
    reason = "it has an empty part, '.', '..' or a control character, or it is too long"
    return StorageError(400, "InvalidUri", f"The blob name {name[:80]!r} is not accepted: {reason}.")


def blob_too_large(limit_bytes: int) -> StorageError:
    message = f"The request body is too large and exceeds the maximum permissible limit of {limit_bytes} bytes."
    return StorageError(413, "RequestBodyTooLarge", message)


def missing_body() -> StorageError:
    return StorageError(400, "IncompleteBody", "The body of the request ended early.")


def storage_not_emulated(method: str, target: str) -> StorageError:
    return StorageError(501, "NotImplemented", f"The local blob storage does not emulate {method} {target}.")
