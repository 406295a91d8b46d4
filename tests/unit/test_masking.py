"""Secrets in foreign texts are masked."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.masking import mask

KEY = base64.b64encode(bytes(range(64))).decode()
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJkZXBsb3llciJ9.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("GET /score Authorization: Bearer abcDEF123456 200", "GET /score Authorization: Bearer *** 200"),
        ("authorization=bearer abc.def-123456", "authorization=bearer ***"),
        (
            "https://a.blob.core.windows.net/c/m?sv=2024&sig=aB%2Fc%3D&se=2026 gone",
            "https://a.blob.core.windows.net/c/m?sv=2024&sig=***&se=2026 gone",
        ),
        ("?sig=abc", "?sig=***"),
        ("https://arm/mfeOperationsStatus/x?t=638&s=Zm9vYmFyYmF6cXV4eHl6&h=Zm9vYmFyYmF6cXV4eHl6", None),
        (f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={KEY};EndpointSuffix=x", None),
        ("AccountName=a;SharedAccessSignature=sv=2024&sig=secret-thing", None),
        ("https://user:hunter22@registry.example/x", "https://user:***@registry.example/x"),
        ('{"primaryKey": "abcdefgh1234", "name": "x"}', '{"primaryKey": "***", "name": "x"}'),
        ("AZURE_CLIENT_SECRET=wrong-secret", "AZURE_CLIENT_SECRET=***"),
        ("?token=abcdef&x=1", "?token=***&x=1"),
        ("DB_PASSWORD: hunter22 is set", "DB_PASSWORD: *** is set"),
        (f"a token {JWT} in a line", "a token *** in a line"),
        (f"the key {KEY} in a line", "the key *** in a line"),
        ("x" * 52 + "JQQJ99" + "y" * 26, "***"),
    ],
)
def test_a_secret_is_masked_and_the_text_around_it_stays(text: str, masked: str | None) -> None:
    found = mask(text)

    assert "***" in found
    assert masked is None or found == masked
    for secret in (KEY, JWT, "Zm9vYmFyYmF6cXV4eHl6", "hunter22", "secret-thing", "wrong-secret"):
        assert secret not in found


@pytest.mark.parametrize(
    "text",
    [
        "ResourceNotReady: User container has crashed or terminated. See https://aka.ms/oe-tsg#error-resourcenotready",
        "Not enough quota available for Standard_DS3_v2 in SubscriptionId 00000000-0000-0000-0000-000000000001.",
        "KeyError: 'predictions'",
        "SecretsInjectionError: The identity cannot read the secret of the connection.",
        "unexpected token at line 1",
        "File /var/azureml-app/score.py, line 3, in init",
        "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
        "InvalidAuthenticationToken: The access token is invalid: expired.",
        "InvalidToken: expired",
        "EnvironmentCredential: EnvironmentCredential authentication unavailable.",
    ],
)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert mask(text) == text


@given(
    st.lists(
        st.sampled_from(["sig=", "token", "Bearer ", "://", ":", "@", "=", "&", "?", "s=", " ", "***", '"', "x" * 20]),
        max_size=12,
    ).map("".join)
)
def test_masking_twice_is_masking_once(text: str) -> None:
    assert mask(mask(text)) == mask(text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[31m(x) wrong\x1b[39m\x1b[0m", "(x) wrong"),
        ("\x1b[38;5;196mred\x1b[K", "red"),
        ("\x1b]8;;https://example\x1b\\link\x1b]8;;\x07", "link"),
        ("a\x1bcb\x1b[", "ab"),
        ("password=\x1b[1mhunter22\x1b[0m", "password=***"),
        ("[39m is text, and so is (x)", "[39m is text, and so is (x)"),
    ],
)
def test_control_sequences_of_terminals_go(text: str, plain: str) -> None:
    assert mask(text) == plain
