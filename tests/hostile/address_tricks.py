"""Addresses that a stranger would have this machine connect to, and good ones that must go on working.

`WRITTEN` are refused as they stand. `NAMED` are ordinary names that resolve to what must not be reached. `LED` are
places that a good page redirects to. `ODD` are characters that would end a header or begin another host.
"""

from __future__ import annotations

WRITTEN = {
    # IPv4, in every spelling that some resolver reads
    "loopback": "http://127.0.0.1/", "loopback, another": "http://127.8.8.8/", "decimal": "http://2130706433/",
    "hex": "http://0x7f000001/", "hex in parts": "http://0x7f.0x0.0x0.0x1/", "octal": "http://0177.0.0.1/",
    "octal whole": "http://017700000001/", "octal, long": "http://0000177.0.0.01/", "short": "http://127.1/",
    "three parts": "http://127.0.1/", "mixed": "http://0x7f.0.1/", "mixed 2": "http://0177.0x0.1/",
    "zero": "http://0.0.0.0/", "bare zero": "http://0/", "this network": "http://0.1.2.3/",
    "overflow": "http://4294967297/", "overflow part": "http://127.0.0.257/", "broadcast": "http://255.255.255.255/",
    "private 10": "http://10.0.0.5/", "private 172": "http://172.20.1.1/", "private 192": "http://192.168.0.1/",
    "provider": "http://100.64.3.4/", "link-local": "http://169.254.10.10/", "multicast": "http://224.0.0.251/",
    "reserved": "http://240.0.0.1/", "documentation": "http://203.0.113.5/", "benchmark": "http://198.18.0.9/",
    # metadata services
    "aws": "http://169.254.169.254/latest/meta-data/", "aws decimal": "http://2852039166/",
    "aws hex": "http://0xa9fea9fe/", "aws octal": "http://0251.0376.0251.0376/", "ecs": "http://169.254.170.2/v2/",
    "alibaba": "http://100.100.100.200/", "azure": "http://168.63.129.16/", "oracle": "http://192.0.0.192/",
    "aws 6": "http://[fd00:ec2::254]/", "google": "http://metadata.google.internal/computeMetadata/v1/",
    "google short": "http://metadata/computeMetadata/v1/",
    # IPv6
    "six": "http://[::1]/", "six long": "http://[0:0:0:0:0:0:0:1]/", "six any": "http://[::]/",
    "mapped": "http://[::ffff:127.0.0.1]/", "mapped hex": "http://[::ffff:7f00:1]/",
    "mapped metadata": "http://[::ffff:a9fe:a9fe]/", "compatible": "http://[::127.0.0.1]/",
    "translated": "http://[::ffff:0:127.0.0.1]/", "6to4": "http://[2002:7f00:1::]/",
    "nat64": "http://[64:ff9b::7f00:1]/", "nat64 local": "http://[64:ff9b:1::a00:1]/",
    "teredo": "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "isatap": "http://[2a00:1450::5efe:c0a8:101]/",
    "unique local": "http://[fc00::1]/", "link-local 6": "http://[fe80::1]/", "site-local": "http://[fec0::1]/",
    "multicast 6": "http://[ff02::1]/", "zone": "http://[fe80::1%25eth0]/", "zone bare": "http://[fe80::1%eth0]/",
    "zone on a public one": "http://[2606:4700::1111%25lo]/", "no brackets": "http://::1/",
    "future form": "http://[v1.fe80::a]/",
    # names
    "localhost": "http://localhost/", "capitals": "http://LocalHost/", "localhost dot": "http://localhost./",
    "under localhost": "http://a.b.localhost/", "old localhost": "http://localhost.localdomain/",
    "local": "http://printer.local/", "inner": "http://db.internal/", "no dot": "http://intranet/",
    "router": "http://fritz.lan/", "home": "http://nas.home.arpa/", "onion": "http://expyuzz4wqqyqhjn.onion/",
    "trailing dot": "http://127.0.0.1./", "two dots": "http://localhost../", "empty label": "http://news..example/",
    # other alphabets
    "fullwidth": "http://１２７.０.０.１/", "circled": "http://①②⑦.⓪.⓪.①/", "ideographic dots": "http://127。0。0。1/",
    "half-width dot": "http://127｡0｡0｡1/", "circled name": "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "soft hyphen": "http://local\u00adhost/",
    "zero-width": "http://local\u200bhost/", "punycode of nothing": "http://xn--/",
    "punycode, broken": "http://xn--a\uffff/", "sharp s": "http://localho\u017ft/", "fullwidth slash": "http://127.0.0.1／a/",
    # users, ports, separators
    "user": "http://news.example@127.0.0.1/", "user and word": "http://news.example:80@127.0.0.1/",
    "user on a good host": "http://admin:admin@news.example/", "two ats": "http://a@b@127.0.0.1/",
    "coded at": "http://news.example%40127.0.0.1/", "backslash": "http://news.example\\@127.0.0.1/",
    "backslashes": "http:\\\\127.0.0.1\\", "hash": "http://127.0.0.1#@news.example/",
    "question mark": "http://127.0.0.1?@news.example/", "coded host": "http://%31%32%37.0.0.1/",
    "coded dot": "http://127%2e0%2e0%2e1/", "port too large": "http://news.example:65536/",
    "port no number": "http://news.example:a/", "port below": "http://news.example:-1/",
    # schemes
    "file": "file:///etc/passwd", "file on a host": "file://127.0.0.1/etc/passwd", "gopher": "gopher://127.0.0.1:6379/_x",
    "data": "data:text/html,<p>x", "ftp": "ftp://127.0.0.1/x", "jar": "jar:http://127.0.0.1/a.jar!/b",
    "dict": "dict://127.0.0.1:11211/stats", "ldap": "ldap://127.0.0.1/", "script": "javascript:alert(1)",
    "view source": "view-source:http://127.0.0.1/", "no scheme": "//127.0.0.1/", "unix": "http+unix://%2Frun%2Fx.sock/",
    "netdoc": "netdoc:///etc/passwd", "blob": "blob:http://127.0.0.1/x", "scheme within": "http:http://127.0.0.1/",
    # characters
    "blank": "http://127.0.0.1 /", "line end": "http://news.example/\r\nHost:%20127.0.0.1", "tab": "http://127.0.0\t.1/",
    "null": "http://news.example\x00.evil.example/", "line end in host": "http://news.example\n.evil.example/",
    "no host": "http:///127.0.0.1/", "open bracket": "http://[::1/", "too long": "http://news.example/" + "a" * 9000,
}  # fmt: skip

PORTS = {"ssh": 22, "mail": 25, "redis": 6379, "database": 5432, "docker": 2375, "search": 9200}

NAMED = {
    "loopback": ["127.0.0.1"], "private": ["10.1.2.3"], "metadata": ["169.254.169.254"], "this network": ["0.0.0.0"],
    "six loopback": ["::1"], "six inner": ["fd12::1"], "mapped": ["::ffff:10.0.0.1"], "nat64": ["64:ff9b::a9fe:a9fe"],
    "6to4": ["2002:a00:1::"], "link-local 6": ["fe80::1"], "zone": ["fe80::1%eth0"], "provider": ["100.127.0.1"],
    "one bad among many": [*(f"93.184.215.{i}" for i in range(1, 40)), "192.168.1.1"],
    "bad first": ["127.0.0.1", "93.184.215.14"], "no number": ["0x7f.1"], "nothing": [],
}  # fmt: skip

GOOD = {
    "plain": "http://news.example/story", "secure": "https://news.example/story", "port 8080": "http://news.example:8080/",
    "number": "http://93.184.215.14/", "six": "http://[2606:4700::1111]/", "international": "http://bücher.example/",
    "punycode": "http://xn--bcher-kva.example/", "trailing dot": "http://news.example./story",
    "query": "http://news.example/?url=http://127.0.0.1/", "at in the path": "http://news.example/@writer/story",
    "localhost in the path": "http://news.example/localhost/127.0.0.1", "name like local": "http://local.news.example/",
    "internal in a name": "http://internal-affairs.example/", "digits": "http://163.example/", "deep": "http://a.b.c.d.example/",
    "hyphens": "http://a--b.news.example/", "provider's neighbour": "http://100.63.255.255/", "upper": "HTTP://NEWS.EXAMPLE/",
}  # fmt: skip
