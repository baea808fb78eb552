"""The services our sources speak to, on loopback: each answers in its real wire format from a shelf of articles.

None of them looks at the dates it is asked for: a service that ignores our bound is the case worth testing. `trouble`
makes its answers wrong in the ways that real services' are. Every request is recorded as it came in.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Article:
    """Something published. `published` None: the service gives no date for it; `page_date` is what the page says."""

    slug: str
    title: str
    text: str
    published: datetime | None
    page_date: str | None = None


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; header names in lower case."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    body: bytes
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


Answer = Callable[["Service", Asked], Reply]


class Service:
    """A loopback server that speaks one wire format. While `trouble` is set, it is what every request gets: a reply,
    or so many seconds of silence before the right one. Articles' own pages are never in trouble, but take `page_delay`
    seconds."""

    def __init__(self, answer: Answer, articles: list[Article]) -> None:
        self.answer = answer
        self.articles = list(articles)  # a test may change its shelf, and not the one it was given
        self.asked: list[Asked] = []
        self.trouble: Reply | float | None = None
        self.page_delay = 0.0
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def page_url(self, article: Article) -> str:
        return f"{self.url}/page/{article.slug}"

    def requests_to(self, prefix: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path.startswith(prefix)]

    def respond(self, asked: Asked) -> Reply:
        if asked.path == "/robots.txt":
            return Reply(b"User-agent: *\nAllow: /\n", kind="text/plain")
        self.asked.append(asked)
        if asked.path.startswith("/page/"):
            self._closing.wait(self.page_delay)
            return self._page(asked)
        if isinstance(self.trouble, Reply):
            return self.trouble
        if self.trouble is not None:
            self._closing.wait(self.trouble)
        return self.answer(self, asked)

    def _page(self, asked: Asked) -> Reply:
        found = [article for article in self.articles if asked.path == f"/page/{article.slug}"]
        if not found:
            return Reply(b"gone", 404, "text/plain")
        return Reply(html_page(found[0]), kind="text/html; charset=utf-8")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                params = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = service.respond(Asked(self.command, parts.path, params, headers, body))
                try:
                    self.send_response(reply.status)
                    for name, value in {"content-type": reply.kind, **reply.headers}.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(reply.body)))
                    self.end_headers()
                    self.wfile.write(reply.body)
                except OSError:
                    self.close_connection = True  # the client had enough of waiting, as the tests want it to

            do_GET = do_POST = do_HEAD = _serve

            def log_message(self, format: str, *args: Any) -> None:
                return

        return Handler


def html_page(article: Article) -> bytes:
    dated = f'<meta property="article:published_time" content="{article.page_date}">' if article.page_date else ""
    paragraphs = "".join(f"<p>{escape(article.text)} Paragraph {number} says so too.</p>" for number in range(4))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(article.title)}</title>{dated}'
        f"</head><body><article><h1>{escape(article.title)}</h1>{paragraphs}</article></body></html>"
    ).encode()


def answer_json(value: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(value, ensure_ascii=False).encode(), status)


def wikipedia(service: Service, asked: Asked) -> Reply:
    if asked.path != "/w/api.php" or asked.params.get("action") != "query":
        return Reply(b"", 404)
    if asked.params.get("list") == "search":
        hits = [{"ns": 0, "title": a.title, "pageid": n} for n, a in enumerate(service.articles, 1)]
        return answer_json({"batchcomplete": True, "query": {"search": hits}})
    number = int(asked.params["pageids"])
    article = service.articles[number - 1]
    page: dict[str, Any] = {"pageid": number, "ns": 0, "title": article.title}
    revision: dict[str, Any] = {"revid": 1000 + number, "parentid": 0}
    if article.published is not None:
        revision["timestamp"] = article.published.strftime("%Y-%m-%dT%H:%M:%SZ")
    content = f"'''{article.title}'''. {article.text} {{{{cite}}}}"
    revision["slots"] = {"main": {"contentmodel": "wikitext", "contentformat": "text/x-wiki", "content": content}}
    page["revisions"] = [revision]
    return answer_json({"batchcomplete": True, "query": {"pages": [page]}})


def gdelt(service: Service, asked: Asked) -> Reply:
    if asked.path != "/api/v2/doc/doc":
        return Reply(b"", 404)
    articles = [
        {
            "url": service.page_url(a),
            "url_mobile": "",
            "title": a.title,
            "seendate": a.published.strftime("%Y%m%dT%H%M%SZ") if a.published else "",
            "socialimage": "",
            "domain": "news.example",
            "language": "English",
            "sourcecountry": "United States",
        }
        for a in service.articles
    ]
    return answer_json({"articles": articles})


def factcheck(service: Service, asked: Asked) -> Reply:
    if asked.path != "/v1alpha1/claims:search":
        return Reply(b"", 404)
    claims = []
    for a in service.articles:
        review: dict[str, Any] = {
            "publisher": {"name": "Checkers", "site": "checkers.example"},
            "url": service.page_url(a),
            "title": a.title,
            "textualRating": "False",
            "languageCode": "en",
        }
        if a.published:
            review["reviewDate"] = a.published.strftime("%Y-%m-%dT%H:%M:%SZ")
        claims.append(
            {"text": a.text, "claimant": "Somebody", "claimDate": "2001-01-01T00:00:00Z", "claimReview": [review]}
        )
    at, size = int(asked.params.get("pageToken", "0")), int(asked.params["pageSize"])
    reply: dict[str, Any] = {"claims": claims[at : at + size]}
    if at + size < len(claims):
        reply["nextPageToken"] = str(at + size)
    return answer_json(reply)


def serper(service: Service, asked: Asked) -> Reply:
    if asked.method != "POST" or asked.path != "/news":
        return Reply(b"", 404)
    news = []
    for position, a in enumerate(service.articles, 1):
        row = {"title": a.title, "link": service.page_url(a), "snippet": a.text, "source": "News", "position": position}
        row["date"] = f"{a.published:%b} {a.published.day}, {a.published.year}" if a.published else "3 days ago"
        news.append(row)
    size, page = asked.json["num"], asked.json["page"]
    return answer_json({"searchParameters": asked.json, "news": news[(page - 1) * size : page * size], "credits": 1})


def brave(service: Service, asked: Asked) -> Reply:
    if asked.path != "/res/v1/news/search":
        return Reply(b"", 404)
    results = []
    for a in service.articles:
        row = {"type": "news_result", "title": a.title, "url": service.page_url(a), "description": a.text}
        row["age"] = "3 days ago"
        if a.published:
            row["page_age"] = a.published.strftime("%Y-%m-%dT%H:%M:%S")
        results.append(row)
    at, size = int(asked.params["offset"]) * int(asked.params["count"]), int(asked.params["count"])
    return answer_json({"type": "news", "query": {"original": asked.params["q"]}, "results": results[at : at + size]})


def searxng(service: Service, asked: Asked) -> Reply:
    if asked.path != "/search" or asked.params.get("format") != "json":
        return Reply(b"", 404)
    results = [
        {
            "url": service.page_url(a),
            "title": a.title,
            "content": a.text,
            "publishedDate": a.published.strftime("%Y-%m-%dT%H:%M:%S") if a.published else None,
            "engine": "bing news",
            "category": "news",
        }
        for a in service.articles
    ]
    page = int(asked.params["pageno"])
    found = results[(page - 1) * 10 : page * 10]
    return answer_json({"query": asked.params["q"], "results": found, "unresponsive_engines": [["qwant", "timeout"]]})


def duckduckgo(service: Service, asked: Asked) -> Reply:
    if asked.path == "/":
        return Reply(b'<html><script>nrj("/d.js?q=x&vqd=4-123456789&kl=wt-wt")</script></html>', kind="text/html")
    if asked.path != "/news.js" or asked.params.get("vqd") != "4-123456789":
        return Reply(b"", 403)
    results = []
    for a in service.articles:
        row = {"title": a.title, "url": service.page_url(a), "excerpt": a.text, "source": "News", "image": ""}
        if a.published:
            row["date"] = int(a.published.timestamp())
        results.append(row)
    at = int(asked.params.get("s", "0"))
    return answer_json({"results": results[at : at + 30], "query": asked.params["q"]})


def feeds(service: Service, asked: Asked) -> Reply:
    items = []
    for a in service.articles:
        dated = f"<pubDate>{format_datetime(a.published)}</pubDate>" if a.published else ""
        items.append(
            f"<item><title>{escape(a.title)}</title><link>{service.page_url(a)}</link><guid>{a.slug}</guid>{dated}"
            f"<description>{escape(a.text)}</description></item>"
        )
    body = f'<?xml version="1.0"?><rss version="2.0"><channel><title>The Feed</title>{"".join(items)}</channel></rss>'
    return Reply(body.encode(), kind="application/rss+xml")


def wayback(service: Service, asked: Asked) -> Reply:
    """Captures of http://site.example/<slug>, one per article; the nearest one is offered whatever was asked."""
    dated = {a.published.strftime("%Y%m%d%H%M%S"): a for a in service.articles if a.published}
    if asked.path == "/wayback/available":
        stamp = max(dated)
        closest = {"status": "200", "available": True, "url": f"{service.url}/web/{stamp}/x", "timestamp": stamp}
        return answer_json({"url": asked.params["url"], "archived_snapshots": {"closest": closest}})
    if asked.path == "/cdx/search/cdx":
        rows = [["timestamp", "statuscode", "mimetype"], *([stamp, "200", "text/html"] for stamp in sorted(dated))]
        return answer_json(rows)
    stamp = asked.path.removeprefix("/web/")[:14]
    if not asked.path.startswith("/web/") or stamp not in dated:
        return Reply(b"", 404)
    return Reply(html_page(dated[stamp]), kind="text/html; charset=utf-8")


ANSWERS: dict[str, Answer] = {
    "wikipedia": wikipedia,
    "gdelt": gdelt,
    "factcheck": factcheck,
    "serper": serper,
    "brave": brave,
    "searxng": searxng,
    "duckduckgo": duckduckgo,
    "feeds": feeds,
    "wayback": wayback,
}
