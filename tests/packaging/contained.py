"""Inside a container's file system: serve as the image does, look as its health check does, and say what came of it.

python contained.py WEIGHUP '["serve", …]' '["python", "-c", …]' SHOULD_BE_READ_ONLY…
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

PORT = 8642


def ask(path: str, key: str, body: object = None) -> Any:
    """What the server answers."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=240) as answer:
        return json.load(answer)


def written(path: str) -> bool:
    """Whether a file could be made there after all."""
    try:
        (Path(path) / "written").touch()
    except OSError:
        return False
    return True


def main() -> None:
    """Prints one JSON object."""
    weighup, command, health, places = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4:]
    refused = subprocess.run([weighup, *command], capture_output=True, text=True, timeout=120, check=False)
    create = [weighup, "keys", "create", "desk", "--scope", "read", "--scope", "check"]
    key = subprocess.run(create, capture_output=True, text=True, timeout=120, check=True).stdout.strip()
    log = Path("/tmp/log")
    with log.open("wb") as file:
        # A check in which the language model writes may take long where other tests have the processor.
        patient = os.environ | {"WEIGHUP_SERVE__REQUEST_SECONDS": "240"}
        server = subprocess.Popen([weighup, *command], stdout=file, stderr=file, env=patient)
    told: dict[str, Any] = {"without a key": (refused.returncode, refused.stderr), "uid": os.getuid()}
    try:
        end = time.monotonic() + 120
        while (healthy := subprocess.run(health, capture_output=True, timeout=30, check=False)).returncode:
            if server.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"never healthy: {healthy.stderr.decode()}\n{log.read_text()}")
            time.sleep(0.2)
        told["checked"] = ask("/v1/checks", key, {"text": "The Eiffel Tower is in Berlin."})
        told["kept"] = ask("/v1/verdicts", key)
        told["doctor"] = json.loads(
            subprocess.run([weighup, "doctor", "--offline", "--json"], capture_output=True, timeout=120).stdout
        )
        told["written"] = [place for place in places if written(place)]
    finally:
        server.send_signal(signal.SIGTERM)
        told["ended"] = server.wait(120)
        told["log"] = log.read_text()
    told["health when stopped"] = subprocess.run(health, capture_output=True, timeout=30, check=False).returncode
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
