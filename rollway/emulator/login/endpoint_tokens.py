"""Tokens of endpoints with auth mode `aml_token`: JWTs with the claims and lifetimes that were recorded in Azure."""

import json
from datetime import datetime
from functools import cached_property
from hashlib import sha1

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from rollway.emulator.core.clock import Clock
from rollway.emulator.core.errors import Document
from rollway.emulator.core.store import Resource, Store

LIFETIME_SECONDS, REFRESH_SECONDS = 24 * 3600, 12 * 3600
ALGORITHM = "RS256"
PARTY = "azureml"  # issuer and audience of every token
SCORE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"
KEY_SETTING = "endpoint token key"


class InvalidEndpointToken(Exception):
    """A token that does not open the endpoint. The text says why."""


class EndpointTokens:
    """Issues and checks the tokens of all endpoints, on the emulator's clock. They share one key, which is stored."""

    def __init__(self, store: Store, clock: Clock, tenant_id: str) -> None:
        self._store, self._clock, self._tenant_id = store, clock, tenant_id

    def issue(self, workspace: Resource, endpoint: Resource, principal: str) -> Document:
        """Return the response to a request for a token. Times are in seconds since the epoch."""
        now = int(self._clock.now())
        claims = {
            "canRefresh": "False",
            "workspaceId": workspace.properties["workspaceId"],
            "tid": self._tenant_id,
            "oid": principal,
            "actions": json.dumps([SCORE]),
            "endpointName": endpoint.name,
            "serviceId": endpoint.name,
            "exp": now + LIFETIME_SECONDS,
            "iss": PARTY,
            "aud": PARTY,
        }
        return {
            "accessToken": jwt.encode(claims, self._key, ALGORITHM, headers={"kid": self._key_id}),
            "tokenType": "Bearer",
            "expiryTimeUtc": claims["exp"],
            "refreshAfterTimeUtc": now + REFRESH_SECONDS,
        }

    def check(self, token: str, workspace: Resource, endpoint: Resource) -> None:
        """Raise InvalidEndpointToken unless the token opens the endpoint.

        A token of an earlier endpoint with the same name is older than the endpoint, and opens nothing.
        """
        try:  # PyJWT would use the machine's clock
            claims = jwt.decode(
                token,
                self._key.public_key(),
                [ALGORITHM],
                audience=PARTY,
                issuer=PARTY,
                options={"verify_exp": False, "require": ["exp", "aud", "iss"]},
            )
        except jwt.InvalidTokenError as exc:
            raise InvalidEndpointToken(str(exc)) from exc
        created_at = datetime.fromisoformat(endpoint.document["systemData"]["createdAt"]).timestamp()
        if claims["exp"] <= self._clock.now():
            raise InvalidEndpointToken("it has expired")
        if claims["exp"] - LIFETIME_SECONDS < int(created_at):
            raise InvalidEndpointToken("it is older than the endpoint")
        owner = (claims["workspaceId"], str(claims["endpointName"]).lower())
        if owner != (workspace.properties["workspaceId"], endpoint.name.lower()):
            raise InvalidEndpointToken(f"it is for the endpoint {claims['endpointName']}")

    @cached_property
    def _key(self) -> RSAPrivateKey:
        """The signing key. It is created on first use, because that takes a moment."""
        if stored := self._store.setting(KEY_SETTING):
            key = load_pem_private_key(stored.encode(), None)
            assert isinstance(key, RSAPrivateKey)  # noqa: S101 - this class has stored it
            return key
        key = generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._store.set_setting(KEY_SETTING, pem.decode())
        return key

    @cached_property
    def _key_id(self) -> str:
        """The key's `kid`: 40 hexadecimal digits, as recorded."""
        public = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return sha1(public, usedforsecurity=False).hexdigest().upper()
