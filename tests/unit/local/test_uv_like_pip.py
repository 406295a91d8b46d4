"""uv with the settings of pip: what `pip config list` says, as variables of uv."""

import pytest

from rollway.local.uv_like_pip import parse, uv_variables

LISTING = """\
:env:.cert='/etc/ssl/own.pem'
:env:.disable-pip-version-check='1'
download.find-links='/downloads'
global.cert='/etc/ssl/other.pem'
global.index-url='https://mirror.example/simple'
install.extra-index-url='\\nhttps://one.example/simple\\nhttps://two.example/simple'
install.trusted-host='mirror.example'
"""


def test_variables_win_over_the_configuration_and_other_commands_do_not_count() -> None:
    assert parse(LISTING, {}) == {
        "cert": "/etc/ssl/own.pem",
        "disable-pip-version-check": "1",
        "index-url": "https://mirror.example/simple",
        "extra-index-url": "\nhttps://one.example/simple\nhttps://two.example/simple",
        "trusted-host": "mirror.example",
    }


def test_certificate_index_and_trust_are_handed_on() -> None:
    assert uv_variables(parse(LISTING, {}), system_certificates=True) == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_INSECURE_HOST": "mirror.example",
        "SSL_CERT_FILE": "/etc/ssl/own.pem",
    }


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ({}, {}),
        ({"find-links": "/wheels https://example/wheels"}, {"UV_FIND_LINKS": "/wheels,https://example/wheels"}),
        ({"find-links": "/gone"}, {}),
        ({"extra-index-url": "file:///gone/simple"}, {}),
        (
            {"extra-index-url": "file:///wheels"},
            {"UV_INDEX": "file:///wheels", "UV_INDEX_STRATEGY": "unsafe-best-match"},
        ),
        ({"no-index": "true"}, {"UV_NO_INDEX": "true"}),
        ({"no-index": "false"}, {}),
        ({"client-cert": "/own.pem"}, {"SSL_CLIENT_CERT": "/own.pem"}),
        ({"proxy": "http://proxy:3128"}, {"ALL_PROXY": "http://proxy:3128"}),
        ({"timeout": "60"}, {}),
    ],
    ids=str,
)
def test_every_setting_has_its_variable(settings: dict[str, str], variables: dict[str, str]) -> None:
    assert uv_variables(settings, system_certificates=False, exists=lambda path: path == "/wheels") == variables


@pytest.mark.parametrize(
    ("settings", "variables"),
    [({}, {"UV_SYSTEM_CERTS": "true"}), ({"cert": "/own.pem"}, {"SSL_CERT_FILE": "/own.pem"})],
    ids=str,
)
def test_the_certificates_of_the_machine_are_trusted_as_pip_does(
    settings: dict[str, str], variables: dict[str, str]
) -> None:
    assert uv_variables(settings, system_certificates=True) == variables


def test_the_bundle_of_requests_counts_if_pip_has_no_certificate_of_its_own() -> None:
    bundles = {"REQUESTS_CA_BUNDLE": "/requests.pem", "CURL_CA_BUNDLE": "/curl.pem"}

    assert parse("", bundles) == {"cert": "/requests.pem"}
    assert parse("", {"CURL_CA_BUNDLE": "/curl.pem", "REQUESTS_CA_BUNDLE": ""}) == {"cert": "/curl.pem"}
    assert parse(LISTING, bundles)["cert"] == "/etc/ssl/own.pem"


def test_no_settings_are_no_variables() -> None:
    assert parse("", {}) == {}
    assert parse("a line that is no setting\n", {}) == {}
