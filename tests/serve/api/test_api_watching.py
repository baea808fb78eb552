"""A feed that is handed in over the API is polled by the same server, and its claims come back as verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from api_samples import serving, until

from weighup.settings import Settings

FEED = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>
<item><guid>1</guid><title>The mayor said on Monday that the old dam is fake.</title>
<description>The mayor said on Monday that the old dam is fake.</description></item></channel></rss>"""


@pytest.fixture
def feed() -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/feed.rss"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/rss+xml")
            self.send_header("Content-Length", str(len(FEED) if known else 0))
            self.end_headers()
            self.wfile.write(FEED if known else b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as listening:
        thread = Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/feed.rss"
        listening.shutdown()
        thread.join()


def test_a_feed_is_watched_as_long_as_the_server_runs(models_ready: Path, tmp_path: Path, feed: str) -> None:
    told = Settings(
        watch={"console": False},  # type: ignore[arg-type]
        serve={"workers": 0, "port": 0},  # type: ignore[arg-type]
        retrieve={"allow_loopback": True, "starter_pack": False},  # type: ignore[arg-type]
    )
    with serving(tmp_path, settings=told, watch=True) as served, served.client() as client:
        assert client.post("/v1/feeds", json={"url": feed}).status_code == 201
        found = until(lambda: client.get("/v1/verdicts").json()["verdicts"], 60)
        assert [(one["claim"], one["label"]) for one in found] == [
            ("The mayor said on Monday that the old dam is fake.", "fake")
        ]
        story = until(lambda: client.get("/v1/stories").json()["stories"])[0]
        items = client.get(f"/v1/stories/{story['id']}").json()["items"]
        assert [(one["state"], one["verdict_id"]) for one in items] == [("checked", found[0]["id"])]
        assert client.get("/v1/feeds").json()["feeds"][0]["errors"] == 0
