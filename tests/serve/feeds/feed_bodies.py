"""Feeds of every kind, as text."""

from __future__ import annotations

from html import escape
from typing import Any


def rss(items: list[dict[str, Any]], *, title: str = "North News", extra: str = "") -> str:
    """`items` hold the text of elements by name; HTML in them is escaped."""
    rows = "".join(
        "<item>" + "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in one.items()) + "</item>"
        for one in items
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"><channel>'
        f"<title>{title}</title><link>https://north.example/</link>{extra}{rows}</channel></rss>"
    )


def story(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "guid": f"https://north.example/{number}",
        "link": f"https://north.example/{number}",
        "title": f"Reservoir {number} fell to {number % 90 + 5} per cent",
        "description": f"<p>The water board said on Friday that basin <b>{number}</b> is low.</p>",
        "pubDate": "Fri, 31 May 2024 08:00:00 GMT",
        **changes,
    }


ATOM = """<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en"
 xml:base="https://n.example/news/"><title type="html">Atom &amp;amp; News</title>
<entry><title type="html">Dam &lt;i&gt;breach&lt;/i&gt;</title><link rel="alternate" href="1?a=1&amp;b=2"/>
<id>urn:1</id><published>2024-05-29T08:00:00Z</published><updated>2024-05-29T09:30:00Z</updated>
<summary>Short.</summary><content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>The <b>reservoir</b>
emptied.</p><p>Nobody was hurt.</p></div></content></entry></feed>"""

SITEMAP = """<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"
 xmlns:news="http://www.google.com/schemas/sitemap-news/0.9"
 xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
<url><loc>https://n.example/a</loc><image:image><image:loc>https://n.example/a.jpg</image:loc></image:image>
<news:news><news:publication><news:name>The N</news:name><news:language>en</news:language></news:publication>
<news:publication_date>2024-05-31T10:00:00+02:00</news:publication_date><news:title>Dam &amp; breach</news:title>
</news:news></url>
<url><loc>/b</loc><lastmod>2024-05-30</lastmod></url><url><loc>file:///etc/passwd</loc></url></urlset>"""


def sitemap_index(*urls: str) -> str:
    rows = "".join(f"<sitemap><loc>{url}</loc></sitemap>" for url in urls)
    return f'<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{rows}</sitemapindex>'
