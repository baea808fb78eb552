"""The guard: what may be fetched, by spelling and by number. Nothing here opens a socket."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import AddressRefused
from weighup.retrieve.guard import check_address, checked_ips, shown, why_refused

INNER = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.7",
    "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1",
    "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "2001:db8::1", "3fff::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2a00:1450::5efe:c0a8:101", "100::1", "5f00::1",
]  # fmt: skip
PUBLIC = ["93.184.215.14", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700::1111",
          "2a00:1450:4001:82a::200e", "64:ff9b::808:808", "::ffff:8.8.8.8"]  # fmt: skip


@pytest.mark.parametrize("ip", INNER)
def test_inner_numbers_are_refused(ip: str) -> None:
    assert why_refused(ipaddress.ip_address(ip))
    with pytest.raises(AddressRefused, match="which is"):
        checked_ips("news.example", [ip])


@pytest.mark.parametrize("ip", PUBLIC)
def test_public_numbers_pass(ip: str) -> None:
    assert why_refused(ipaddress.ip_address(ip)) is None
    assert checked_ips("news.example", [ip, ip]) == [ip]


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_python_knows_as_inner_never_passes(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved or ip.is_unspecified:
        inner = getattr(ip, "ipv4_mapped", None)
        # Two kinds of IPv6 address stand for an IPv4 one, which decides.
        stands_for = inner or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if int(ip) >> 32 == 0x64FF9B << 64 else None)
        assert why_refused(ip) or (stands_for is not None and why_refused(stands_for) is None)


def test_one_inner_answer_spoils_a_name() -> None:
    with pytest.raises(AddressRefused, match=r"evil\.example resolves to 10\.0\.0\.1"):
        checked_ips("evil.example", ["93.184.215.14", "10.0.0.1"])


def test_a_number_bound_to_a_card_is_refused() -> None:
    with pytest.raises(AddressRefused):
        checked_ips("evil.example", ["fe80::1%eth0"])
    with pytest.raises(AddressRefused):
        checked_ips("evil.example", ["2606:4700::1111%lo"])


def test_loopback_opens_only_for_hosts_named_so() -> None:
    assert checked_ips("localhost", ["::1", "127.0.0.1"], allow_loopback=True) == ["::1", "127.0.0.1"]
    for host, ip in [("localhost", "10.0.0.1"), ("rebinding.example", "127.0.0.1")]:
        with pytest.raises(AddressRefused):
            checked_ips(host, [ip], allow_loopback=True)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://news.example/", "file:///etc/passwd", "gopher://news.example/", "javascript:alert(1)",
        "data:text/html,x",
        "//news.example/", "news.example", "", "http://", "http:///path", "http://[::1", "http://news.example:x/",
        "http://news.example:99999/", "http://user@news.example/", "http://user:word@news.example/",
        "http://news.example:80@127.0.0.1/", "http://news.example\\@127.0.0.1/", "http://news.example/ x",
        "http://news.example/\r\nHost: inner", "http://127.0.0.1/", "http://127.1/", "http://2130706433/",
        "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/", "http://0/", "http://017700000001/",
        "http://127.0.0.1./", "http://127.0.0.01/", "http://①②⑦.0.0.1/", "http://127。0。0。1/", "http://１２７.0.0.1/",
        "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[0:0:0:0:0:ffff:7f00:1]/", "http://[fe80::1%25eth0]/",
        "http://[64:ff9b::7f00:1]/", "http://localhost/", "http://LOCALHOST./", "http://a.localhost/",
        "http://ⓛocalhost/", "http://loc\u00adalhost/", "http://localhost.localdomain/", "http://ip6-localhost/",
        "http://intranet/", "http://printer.local/", "http://metadata.google.internal/", "http://db.corp/",
        "http://router.lan/", "http://x.home.arpa/", "http://x.onion/", "http://news.example:22/",
        "http://news.example:6379/", "http://news.example:25/", "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/", "http://news..example/", "http://%31%32%37.0.0.1/", "http://-\u2044.example/",
        "http://" + "a" * 300 + ".example/", "http://news.example/" + "a" * 9000,
    ],
)  # fmt: skip
def test_odd_and_inner_addresses_are_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_address(url)


def test_ordinary_addresses_get_one_spelling() -> None:
    assert check_address("HTTPS://News.Example:443/Ä b".replace(" ", "")).url == "https://news.example/%C3%84b"
    assert check_address("http://news.example").url == "http://news.example/"
    assert check_address("http://news.example./a?b=c&d=%20#part").url == "http://news.example/a?b=c&d=%20"
    assert check_address("http://bücher.example/").host == "xn--bcher-kva.example"
    assert check_address("https://news.example:8443/x").port == 8443
    assert check_address("http://[2606:4700::1111]:8080/").url == "http://[2606:4700::1111]:8080/"


def test_ports_and_loopback_open_by_flag_only() -> None:
    assert check_address("http://search.example:8888/", any_port=True).port == 8888
    assert check_address("http://127.0.0.1:9999/", allow_loopback=True).port == 9999
    assert check_address("http://[::1]:9999/", allow_loopback=True).host == "::1"
    for url in ("http://127.0.0.1:9999/", "http://localhost:8888/"):
        with pytest.raises(AddressRefused, match="allow_loopback"):
            check_address(url, any_port=True)
    with pytest.raises(AddressRefused):
        check_address("http://192.168.0.5/", allow_loopback=True, any_port=True)


def test_messages_hide_secrets() -> None:
    url = (
        "https://u:pw@api.example/v1?q=x&key=S1&api_key=S2&token=S3&access_token=S4&apiKey=S5&X-Signature=S6&author=me"
    )
    text = shown(url)
    assert not [secret for secret in ("pw", "S1", "S2", "S3", "S4", "S5", "S6") if secret in text]
    assert "q=x" in text
    assert "author=me" in text
    assert len(shown("https://a.example/" + "x" * 999)) <= 200
    assert "\n" not in shown("https://a.example/\nx")
    with pytest.raises(AddressRefused) as refused:
        check_address("ftp://api.example/?key=S1")
    assert "S1" not in str(refused.value)


@given(st.text(max_size=200))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://news.example/{text}"):
        assert shown(url) is not None
        try:
            found = check_address(url)
        except AddressRefused:
            continue
        assert found.url.isascii()
        assert check_address(found.url) == found


@pytest.mark.parametrize(
    "url", ["http://news.example/\ud800", "http://news.example/?q=\udfff", "http://n\ud800.example/"]
)
def test_halves_of_characters_are_refused_and_can_be_printed(url: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        check_address(url)
    str(refused.value).encode()
    shown(url).encode()
