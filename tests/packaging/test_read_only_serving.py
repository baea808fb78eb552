"""The image's command serves with a read-only root file system, no capabilities and no network but loopback.

Without a container engine: a mount and a network namespace laid out as the image's container is, with the installed
command in it. Nothing of this machine's own mounts or network changes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from image import environment, value

HERE = Path(__file__).resolve().parent


def run(models: Path) -> dict[str, Any]:
    """What `contained.py` says."""
    command = Path(sys.executable).parent / "weighup"
    lacking = [name for name in ("unshare", "setpriv", "ip", "mount") if shutil.which(name) is None]
    if lacking or not command.exists():
        pytest.skip(f"needs {', '.join(lacking) or command}")
    apart = ["unshare", "--mount", "--net", "--propagation", "private"]
    tried = subprocess.run([*apart, "mount", "-t", "tmpfs", "tmpfs", "/var/lib"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("this user may not make namespaces")
    volumes = json.loads(value("VOLUME"))
    health = json.loads(value("HEALTHCHECK").partition("CMD ")[2])
    health[0] = sys.executable
    places = ["/", "/etc", "/var/lib", "/var/cache/weighup", "/var/cache/weighup/models", str(HERE)]
    inside = [str(HERE / "contained.py"), str(command), value("CMD"), json.dumps(health), *places]
    done = subprocess.run(
        [*apart, "sh", str(HERE / "contained.sh"), sys.executable, *inside],
        env={
            **environment(),
            "PATH": os.environ["PATH"],
            "MODELS": str(models),
            "VOLUMES": " ".join(volumes),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_image_serves_from_a_read_only_file_system(models_ready: Path) -> None:
    told = run(models_ready)
    # Without a key it does not serve others.
    code, said = told["without a key"]
    assert code == 2
    assert "there is no API key" in said
    # It checks a claim, and keeps the verdict.
    checked = told["checked"]
    assert checked["created"] is True
    assert checked["verdict"]["verdict"] in ("real", "fake", "unknown")
    assert checked["id"] in json.dumps(told["kept"])
    # Nothing can be written but where it may be, and nothing was tried.
    assert told["written"] == []
    assert "Read-only file system" not in told["log"]
    assert "Traceback" not in told["log"]
    # The doctor finds nothing missing.
    findings = {one["name"]: one for one in told["doctor"]["findings"]}
    assert [one for one in findings.values() if one["state"] == "missing"] == []
    assert findings["starter pack"]["said"] == "ready"
    assert "/var/lib/weighup/serve.sqlite" in findings["database"]["said"]
    # Told to stop it stops, and its health check notices.
    assert told["ended"] in (0, -signal.SIGTERM)
    assert told["health when stopped"] != 0
