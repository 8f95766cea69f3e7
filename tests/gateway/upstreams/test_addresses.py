"""Which addresses an upstream may have."""

import pytest

from gateway.upstreams.addresses import ForbiddenAddressError, check_base_url, host_is_private


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "0.0.0.0",  # noqa: S104 - an address under test, nothing binds to it
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "not an address",
    ],
)
def test_addresses_inside_are_private(address: str) -> None:
    assert host_is_private(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_not(address: str) -> None:
    assert not host_is_private(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:11434/v1",
        "http://127.1/v1",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://[::1]:8000/v1",
        "http://[::ffff:127.0.0.1]/v1",
        "http://localhost:8000/v1",
        "http://LOCALHOST./v1",
        "http://a.localhost/v1",
        "http://metadata.google.internal/computeMetadata/v1",
        "http://printer.local/",
        "http://vllm:8000/v1",
        "http://169.254.169.254/latest",
    ],
)
def test_a_url_that_leads_inside_needs_the_operators_permission(url: str) -> None:
    with pytest.raises(ForbiddenAddressError, match="allow_private_network"):
        check_base_url(url, allow_private=False)
    check_base_url(url, allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com/v1",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "https://user:secret@example.com/v1",
        "https://example.com/v1?key=secret",
        "https://example.com/v1#part",
        "https://example.com:99999/v1",
        "https://example.com:0/v1",
        "http://[::1/v1",
        "https://example.com/v1 ",
        "https://example.com/\r\nX: y",
        "https://exämple.com/v1",
    ],
)
def test_what_is_no_base_url_is_refused_whatever_is_allowed(url: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        check_base_url(url, allow_private=True)


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "http://1.1.1.1/v1", "https://api.example.com:8443"])
def test_a_public_url_is_accepted(url: str) -> None:
    check_base_url(url, allow_private=False)
