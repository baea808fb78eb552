"""The address guard: what a fetched page, feed or search result may make this machine connect to.

A hostile page can name any address, so nothing but ordinary web servers on the public internet is reached. Two checks,
both on every redirect hop: the address as written (`check_address`: scheme, port, credentials, spelling) before
anything is sent, and the numbers the name resolves to (`checked_ips`), all of which must be public. The caller then
connects to exactly those numbers, so a name that resolves differently a moment later (DNS rebinding) gains nothing.
Ranges: IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890 and its updates), read July 2025; they are
written out here because `ipaddress.is_global` differs between Python releases.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from weighup.errors import AddressRefused
from weighup.texts import whole

PORTS = frozenset({80, 443, 8080, 8443})
"""Where web servers listen; other ports belong to services that a forged request could talk to."""

LONGEST = 8000
"""Characters of an address. Longer ones are nobody's article."""

_IPV4 = [
    (ipaddress.IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "a provider's inner network"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "for documentation"),
        ("192.31.196.0/24", "reserved for protocols"),
        ("192.52.193.0/24", "reserved for protocols"),
        ("192.88.99.0/24", "a tunnel relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "reserved for protocols"),
        ("198.18.0.0/15", "for measurements inside a network"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("168.63.129.16/32", "a cloud's metadata"),
    )
]
_IPV6_PUBLIC = ipaddress.IPv6Network("2000::/3")
_IPV6 = [
    (ipaddress.IPv6Network(network), what)
    for network, what in (
        ("2001::/23", "reserved for protocols and tunnels"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "a tunnel into IPv4"),
        ("2620:4f:8000::/48", "reserved for protocols"),
        ("3fff::/20", "for documentation"),
    )
]
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)
_LOCAL_NAMES = ("local", "localdomain", "internal", "intranet", "lan", "home", "corp", "private", "home.arpa", "onion")
_SECRET = re.compile(
    r"key(?!word)|token|secret|passw|pwd|^sig$|signature|auth(?!or)|credential|session|^code$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Address:
    """An address that may be asked for. `url` is rebuilt from its checked parts (ASCII, no fragment), so that every
    reader of it sees the same host. `host` is lower-case ASCII, an IPv6 literal without brackets."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: who gets to see headers meant for this address."""
        return self.scheme, self.host, self.port


def check_address(url: str, *, allow_loopback: bool = False, any_port: bool = False) -> Address:
    """The address in its one safe spelling. `any_port` is for addresses that the user configured.

    Raises AddressRefused saying what is wrong. Sends nothing and resolves nothing.
    """
    if len(url) > LONGEST:
        raise _refused(url, f"it is longer than {LONGEST:,} characters")
    if re.search(r"[\x00-\x20\x7f\\\ud800-\udfff]", url.strip()):
        raise _refused(url, "it holds blanks, control characters, halves of characters or a backslash")
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise _refused(url, "it is not a well-formed address") from None
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https"):
        raise _refused(url, "only http and https are fetched")
    if "@" in parts.netloc:
        raise _refused(url, "it carries a user name or password")
    host = _host(parts.hostname or "", url)
    port = (443 if scheme == "https" else 80) if port is None else port
    loopback = is_loopback(host)
    literal = as_ip(host)
    if loopback and not allow_loopback:
        raise _refused(url, "it is this machine (loopback); retrieve.allow_loopback opens it for your own servers")
    if literal is not None and not loopback and (why := why_refused(literal)):
        raise _refused(url, f"{host} is {why}")
    if literal is None and not loopback:
        _check_name(host, url)
    if not (any_port or port in PORTS or loopback):
        raise _refused(url, f"port {port} is not a web server's ({', '.join(map(str, sorted(PORTS)))})")
    shown_host = f"[{host}]" if ":" in host else host
    netloc = shown_host if port == (443 if scheme == "https" else 80) else f"{shown_host}:{port}"
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~-._") or "/"
    query = quote(parts.query, safe="/?%:@!$&'()*+,;=~-._[]|")
    return Address(f"{scheme}://{netloc}{path}{'?' + query if query else ''}", scheme, host, port)


def checked_ips(host: str, found: Iterable[str], *, allow_loopback: bool = False) -> Sequence[str]:
    """What `host` resolved to, each once, if *all* of it may be connected to. Raises AddressRefused.

    One bad answer among good ones refuses the name: an honest site has no inner address beside its public one.
    Loopback passes only under `allow_loopback` and only for a host *named* loopback, never for a name in DNS.
    """
    ips = list(dict.fromkeys(found))
    for text in ips:
        ip = as_ip(text)
        if ip is None:
            raise AddressRefused(f"{host} resolves to {text[:60]!r}, which is not an address; it was not fetched")
        if allow_loopback and is_loopback(host) and ip.is_loopback:
            continue
        why = why_refused(ip)
        if why:
            raise AddressRefused(f"{host} resolves to {text}, which is {why}; it was not fetched")
    if not ips:
        raise AddressRefused(f"{host} resolves to nothing; is the address right?")
    return ips


def why_refused(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str | None:
    """Why nothing may be fetched from this number, or None if it is an ordinary public one."""
    if isinstance(ip, ipaddress.IPv4Address):
        return next((what for network, what in _IPV4 if ip in network), None)
    if ip.scope_id is not None:
        return "bound to one network card"
    inner = ip.ipv4_mapped
    if inner is None and ip in _NAT64:
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if inner is not None:
        why = why_refused(inner)
        return f"{inner} written as IPv6: {why}" if why else None
    if ip == ipaddress.IPv6Address("::1"):
        return "loopback"
    if ip not in _IPV6_PUBLIC:
        return "not a public address (private, link-local, multicast or reserved)"
    if (int(ip) >> 32) & 0xFFFFFFFF in _ISATAP:
        return "a tunnel into IPv4"
    return next((what for network, what in _IPV6 if ip in network), None)


def is_loopback(host: str) -> bool:
    """Whether a host is *written* as this machine: `localhost` names and loopback numbers."""
    if host == "localhost" or host.endswith(".localhost") or host in ("localhost.localdomain", "ip6-localhost"):
        return True
    ip = as_ip(host)
    return ip is not None and ip.is_loopback


def as_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The number, if the text is one in its usual spelling."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def shown(url: str, limit: int = 200) -> str:
    """An address for messages and logs: no credentials, no secret parameters, one line, not too long."""
    url = whole(url)
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        pairs = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return "an address that is not well-formed"
    query = urlencode([(name, "***" if _SECRET.search(name) else value) for name, value in pairs], safe="*/:,")
    text = f"{parts.scheme}://{host}{parts.path}" if host else url.partition("?")[0].rpartition("@")[2]
    text = re.sub(r"[\x00-\x20\x7f-\x9f]+", " ", f"{text}?{query}" if query else text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _host(written: str, url: str) -> str:
    """A host as lower-case ASCII. Odd spellings are refused rather than guessed at: readers differ over them."""
    if "%" in written:
        raise _refused(url, "its host has a zone or percent-encoding")
    if ":" in written:
        ip = as_ip(written)
        if ip is None:
            raise _refused(url, "its host is not an IPv6 address")
        return str(ip)
    host = written
    if not host.isascii():
        import idna

        try:
            host = idna.encode(host, uts46=True, transitional=False).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise _refused(url, "its host is not a valid international name") from None
    host = host.lower()
    host = host[:-1] if host.endswith(".") else host
    if not host or len(host) > 253 or not all(re.fullmatch(r"[a-z0-9_-]{1,63}", part) for part in host.split(".")):
        raise _refused(url, "its host is not a name")
    # 2130706433, 0x7f.1, 0177.0.0.1 and 127.1 all reach 127.0.0.1 on some systems: only a plain dotted quad is read.
    if re.fullmatch(r"\d+|0x[0-9a-f]*", host.rpartition(".")[2]) and as_ip(host) is None:
        raise _refused(url, "its host is a number in an unusual spelling")
    return host


def _check_name(host: str, url: str) -> None:
    if "." not in host:
        raise _refused(url, "a host without a dot is a name inside a network")
    if any(host.endswith(f".{name}") for name in _LOCAL_NAMES):
        raise _refused(url, "it is a name inside a network")


def _refused(url: str, why: str) -> AddressRefused:
    return AddressRefused(f"{shown(url)} was not fetched: {why}")
