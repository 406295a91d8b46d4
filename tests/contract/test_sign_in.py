"""All ways to sign in but the client secret, through DefaultAzureCredential, on an emulator of their own."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
import yaml
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError, DefaultAzureCredential, ManagedIdentityCredential
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.plain_rest import PlainRest

ISSUER, SUBJECT, AUDIENCE = "https://issuer.example", "repo:team/models:ref:main", "api://AzureADTokenExchange"
HEADER = "header-of-the-app-service"
AZURE_VARIABLES = (
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_FEDERATED_TOKEN_FILE",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
)


@dataclass
class Keys:
    """A self-signed certificate (`file` has its private key too), and the key of another issuer."""

    file: Path
    certificate: str
    issuer: rsa.RSAPrivateKey


def make_certificate(path: Path) -> str:
    """Write key and certificate; gives the certificate as PEM."""
    key = rsa.generate_private_key(65537, 2048)
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pipeline")]), datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
    certificate = builder.not_valid_after(now + timedelta(days=9)).sign(key, hashes.SHA256())
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(secret + pem)
    return pem.decode()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    return Keys(folder / "own.pem", make_certificate(folder / "own.pem"), rsa.generate_private_key(65537, 2048))


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Iterator[EmulatorProcess]:
    """An emulator with a principal per way to sign in."""
    public = keys.issuer.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    trust = {"issuer": ISSUER, "subject": SUBJECT, "public_key": public.decode()}
    seed = {
        "identity_header": HEADER,
        "principals": [
            {"client_id": "certified", "certificates": [keys.certificate]},
            {"client_id": "federated", "federated_credentials": [trust]},
            {"client_id": "system-assigned", "is_managed_identity": True},
            {"client_id": "user-assigned", "is_managed_identity": True, "role": "none"},
        ],
    }
    folder = tmp_path_factory.mktemp("tenant")
    (folder / "seed.yaml").write_text(yaml.safe_dump(seed))
    with running_emulator(folder / "state", "--seed", str(folder / "seed.yaml")) as running:
        yield running


@pytest.fixture
def variables(tenant: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The tenant's variables, without any that say who signs in."""
    for name, value in tenant.environment.items():
        monkeypatch.setenv(name, value)
    for name in AZURE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def sign_in(tenant: EmulatorProcess, scope: str = "") -> PlainRest:
    """Sign in to ARM with the credential that DefaultAzureCredential finds in the environment."""
    credential = DefaultAzureCredential(disable_instance_discovery=True, retry_total=0)
    return PlainRest(tenant, credential.get_token(scope or f"{tenant.url}/.default").token)


def federated_token(keys: Keys, **changed: object) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE, "iat": now, "exp": now + 300, **changed}
    return jwt.encode(claims, keys.issuer, "RS256")


def use_federation(variables: pytest.MonkeyPatch, folder: Path, token: str) -> None:
    (folder / "token").write_text(token)
    variables.setenv("AZURE_CLIENT_ID", "federated")
    variables.setenv("AZURE_FEDERATED_TOKEN_FILE", str(folder / "token"))


def test_a_client_certificate_signs_in(tenant: EmulatorProcess, variables: pytest.MonkeyPatch, keys: Keys) -> None:
    variables.setenv("AZURE_CLIENT_ID", "certified")
    variables.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(keys.file))

    assert sign_in(tenant).send("GET", "").json()["name"] == "local"


def test_a_certificate_that_is_not_registered_is_refused(
    tenant: EmulatorProcess, variables: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_certificate(tmp_path / "other.pem")
    variables.setenv("AZURE_CLIENT_ID", "certified")
    variables.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(tmp_path / "other.pem"))

    with pytest.raises(ClientAuthenticationError, match="AADSTS700027: The certificate with identifier"):
        sign_in(tenant)


def test_a_federated_workload_identity_signs_in(
    tenant: EmulatorProcess, variables: pytest.MonkeyPatch, keys: Keys, tmp_path: Path
) -> None:
    use_federation(variables, tmp_path, federated_token(keys))

    assert sign_in(tenant).send("GET", "").json()["name"] == "local"


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"iss": "https://other.example"}, "AADSTS700211: .*assertion issuer 'https://other.example'"),
        ({"aud": "someone"}, "AADSTS700212: .*assertion audience 'someone'"),
        ({"sub": SUBJECT.upper()}, "AADSTS700213: .*assertion subject"),
        ({"exp": 1_700_000_000}, "AADSTS700024: Client assertion is not within its valid time range"),
    ],
)
def test_a_federated_token_that_does_not_match_is_refused(
    tenant: EmulatorProcess,
    variables: pytest.MonkeyPatch,
    keys: Keys,
    tmp_path: Path,
    changed: dict[str, object],
    text: str,
) -> None:
    use_federation(variables, tmp_path, federated_token(keys, **changed))

    with pytest.raises(ClientAuthenticationError, match=text):
        sign_in(tenant)


def test_a_federated_token_that_another_key_signed_is_refused(
    tenant: EmulatorProcess, variables: pytest.MonkeyPatch, keys: Keys, tmp_path: Path
) -> None:
    forger = Keys(keys.file, keys.certificate, rsa.generate_private_key(65537, 2048))
    use_federation(variables, tmp_path, federated_token(forger))

    with pytest.raises(ClientAuthenticationError, match="AADSTS700027: Client assertion failed signature validation"):
        sign_in(tenant)


def test_a_managed_identity_of_a_virtual_machine_signs_in(
    tenant: EmulatorProcess, variables: pytest.MonkeyPatch
) -> None:
    variables.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", tenant.url)

    assert sign_in(tenant).send("GET", "").json()["name"] == "local"


def test_a_user_assigned_identity_is_chosen_by_its_client_id(
    tenant: EmulatorProcess, variables: pytest.MonkeyPatch
) -> None:
    variables.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", tenant.url)
    variables.setenv("AZURE_CLIENT_ID", "user-assigned")

    answer = sign_in(tenant).send("GET", "")

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "AuthorizationFailed")
    assert "The client 'user-assigned'" in answer.json()["error"]["message"]


def test_an_identity_that_the_machine_has_not_is_unavailable(
    tenant: EmulatorProcess, variables: pytest.MonkeyPatch
) -> None:
    variables.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", tenant.url)

    with pytest.raises((CredentialUnavailableError, ClientAuthenticationError), match="Identity not found"):
        ManagedIdentityCredential(client_id="absent", retry_total=0).get_token(f"{tenant.url}/.default")


def test_the_metadata_service_wants_its_header(tenant: EmulatorProcess) -> None:
    query = {"api-version": "2018-02-01", "resource": tenant.url}

    answer = tenant.http().get(f"{tenant.url}/metadata/identity/oauth2/token", params=query)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_a_managed_identity_of_app_service_signs_in(tenant: EmulatorProcess, variables: pytest.MonkeyPatch) -> None:
    variables.setenv("IDENTITY_ENDPOINT", f"{tenant.url}/msi/token")
    variables.setenv("IDENTITY_HEADER", HEADER)

    assert sign_in(tenant).send("GET", "").json()["name"] == "local"


def test_app_service_wants_its_secret(tenant: EmulatorProcess, variables: pytest.MonkeyPatch) -> None:
    variables.setenv("IDENTITY_ENDPOINT", f"{tenant.url}/msi/token")
    variables.setenv("IDENTITY_HEADER", "guessed")

    with pytest.raises(ClientAuthenticationError, match="401, The X-IDENTITY-HEADER is missing or wrong"):
        sign_in(tenant)


def test_a_token_for_a_resource_that_nobody_knows_is_refused(
    tenant: EmulatorProcess, variables: pytest.MonkeyPatch, keys: Keys
) -> None:
    variables.setenv("AZURE_CLIENT_ID", "certified")
    variables.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(keys.file))

    with pytest.raises(ClientAuthenticationError, match="AADSTS500011: The resource principal named"):
        sign_in(tenant, "https://graph.example/.default")


def test_a_request_for_a_token_without_any_credential_is_refused(tenant: EmulatorProcess) -> None:
    form = {"grant_type": "client_credentials", "client_id": "certified", "scope": f"{tenant.url}/.default"}
    url = f"{tenant.url}/{tenant.environment['AZURE_TENANT_ID']}/oauth2/v2.0/token"

    answer = tenant.http().post(url, data=form)

    assert (answer.status_code, answer.json()["error_codes"]) == (401, [7000218])


def test_a_token_expires_for_arm_when_the_clock_has_passed_its_hour(
    tenant: EmulatorProcess, variables: pytest.MonkeyPatch
) -> None:
    variables.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", tenant.url)
    rest = sign_in(tenant)

    tenant.http().post(f"{tenant.url}/_emulator/clock", json={"advance_seconds": 3600}).raise_for_status()
    answer = rest.send("GET", "")

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "ExpiredAuthenticationToken")
    assert sign_in(tenant).send("GET", "").status_code == 200
