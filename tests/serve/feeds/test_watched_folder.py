"""A watched folder gives what is new and what changed, once; lines of a stream give an item each."""

from __future__ import annotations

import io
import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from weighup.errors import InvalidInput
from weighup.retrieve.rowfiles import Broken
from weighup.serve.feeds.folder import MAX_LINE, FileState, FolderState, read_lines, scan
from weighup.serve.feeds.items import Item

PAGE = "<html><head><title>Dam</title></head><body><article><p>{}</p></article></body></html>"
LONG = "The reservoir above the town fell to a third of its usual level on Friday, the water board said. " * 4


class Watched:
    """A folder scanned again and again, its state through JSON each time, as a database keeps it."""

    def __init__(self, path: Path) -> None:
        self.state = FolderState(str(path))
        self.broken: list[Broken] = []

    def news(self) -> list[Item]:
        kept = json.loads(json.dumps(asdict(self.state)))
        files = {name: FileState(**{**one, "seen": tuple(one["seen"])}) for name, one in kept["files"].items()}
        self.state, items = scan(FolderState(kept["path"], files), on_broken=self.broken.append)
        return items


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_files_of_every_kind_once(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The dam broke.")
    (tmp_path / "b.html").write_text(PAGE.format(LONG))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.json").write_text('[{"text": "One.", "date": "2024-05-31"}, {"text": ""}]')
    (tmp_path / "d.json").write_text(
        '{"version": "https://jsonfeed.org/version/1.1", "items": [{"id": "1", "content_text": "Fed."}]}'
    )
    (tmp_path / "e.jsonl").write_text('{"text": "Row."}\n{broken\n')
    (tmp_path / "f.pdf").write_bytes(b"no pdf")
    (tmp_path / "g.exe").write_bytes(b"x")
    (tmp_path / ".hidden.txt").write_text("x")
    items = watched.news()
    assert [item.text for item in items if len(item.text) < 60] == ["The dam broke.", "Fed.", "Row.", "One."]
    assert len(items) == 5
    assert len({item.guid for item in items}) == 5
    assert len(watched.broken) == 3
    assert watched.news() == []
    assert len(watched.broken) == 3


def test_only_what_changed_comes_again(watched: Watched, tmp_path: Path) -> None:
    rows, text = tmp_path / "rows.jsonl", tmp_path / "a.txt"
    rows.write_text('{"text": "One."}\n')
    text.write_text("Before.")
    watched.news()
    with rows.open("a") as file:
        file.write('{"text": "Two."}\n')
    os.utime(text, ns=(1, 1))  # touched, not changed
    assert [item.text for item in watched.news()] == ["Two."]
    text.write_text("Afterwards.")
    assert [item.text for item in watched.news()] == ["Afterwards."]
    text.unlink()
    assert watched.news() == []
    assert set(watched.state.files) == {"rows.jsonl"}


def test_links_and_pipes_lead_nowhere(
    watched: Watched, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.txt"
    outside.write_text("S3CRET")
    (tmp_path / "link.txt").symlink_to(outside)
    (tmp_path / "folder").symlink_to(outside.parent)
    os.mkfifo(tmp_path / "pipe.txt")
    assert watched.news() == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such folder"):
        scan(FolderState(str(tmp_path / "none")), on_broken=print)


def test_lines() -> None:
    broken: list[Broken] = []
    lines = [b"The dam broke.", b"", b'{"text": "Two.", "url": "https://e.org/2", "date": "2024-05-31"}', b"{no json",
             b"x" * (2 * MAX_LINE + 5), b"\xff caf\xc3\xa9", b'{"text": 5}', b"The dam broke."]  # fmt: skip
    items = list(read_lines(io.BytesIO(b"\n".join(lines)), on_broken=broken.append))
    assert [item.text for item in items] == ["The dam broke.", "Two.", "\ufffd café", "The dam broke."]
    assert items[0].guid == items[3].guid
    assert items[1].url == "https://e.org/2"
    assert [one.line for one in broken] == [4, 5, 7]
