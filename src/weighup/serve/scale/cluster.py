"""Ray for one run: started here on loopback and ended with it, or a cluster that is there already.

Ray hands code to whoever can speak to it. So what is started here listens on loopback only, wants a token that is made
for this process and never written down, keeps its files in a folder that only this user can read, shows no dashboard
and reports nothing to anybody. A cluster named by its address is used as it is: who may reach it is its owner's to say.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from weighup.errors import InvalidInput, SettingsError

NEEDED = "pip install 'weighup[ray]'"
LOOPBACK = ("127.0.0.1", "::1")
_OBJECTS = 128 * 1024 * 1024
"""Bytes of shared memory for what is under way; more goes to disk. Claims and verdicts are small."""

_REACH_SECONDS = 5.0


class EngineLost(SettingsError):
    """Ray, or its workers, cannot be used at all: no row is to blame, and nothing is written into any."""

    exit_code = 1


def require() -> None:
    """Raise InvalidInput, with what to install, where Ray is not there. Does not import it."""
    if find_spec("ray") is None:
        raise InvalidInput(f"--engine ray needs Ray, which is not installed; run {NEEDED}")


class Cluster:
    """A connection to Ray. `processors` is how many processor cores it has; `local` whether it was started here."""

    def __init__(self, address: str | None = None, *, processors: int = 1) -> None:
        """Start Ray here with room for `processors` workers, or connect to the cluster at `address` (host:port).

        Raises InvalidInput if Ray is not installed or the address cannot be one, EngineLost if it does not start or
        nothing answers there.
        """
        require()
        if address is not None:
            _reach(address)
        self.local = address is None
        self._folder: Path | None = None
        self._mine = False
        with _process_kept():
            ray = _ray(local=self.local)
        if ray.is_initialized():  # opened by whoever uses this as a library, who also closes it
            self.processors = _processors(ray)
            return
        try:
            with _process_kept():
                self._init(ray, address, processors)
            self._mine = True
            self.processors = _processors(ray)
        except BaseException:
            ray.shutdown()
            self._clear()
            raise

    def _init(self, ray: Any, address: str | None, processors: int) -> None:
        logging.getLogger("ray").setLevel(logging.ERROR)
        try:
            if address is not None:
                ray.init(address=address, namespace="weighup", log_to_driver=False, configure_logging=False)
                return
            # Asked before anything listens.
            if (host := ray.util.get_node_ip_address()) not in LOOPBACK:
                raise EngineLost(f"Ray would listen on {host}, not on loopback alone: this process imported it before")
            # Short, since the paths of sockets must be. Ray opens its own folder to everybody: ours around it does not.
            self._folder = Path(tempfile.mkdtemp(prefix="weighup-ray-", dir="/tmp" if os.name == "posix" else None))
            ray.init(
                address="local",
                num_cpus=processors,
                num_gpus=0,
                namespace="weighup",
                object_store_memory=_OBJECTS,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                _temp_dir=str(self._folder / "ray"),
            )
        except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
            where = f"--address {address}: no cluster that can be used" if address else "Ray did not start"
            said = str(error.__cause__ or error).strip() or type(error).__name__
            raise EngineLost(f"{where}: {said.splitlines()[0][:300]}") from error

    def close(self) -> None:
        """End what was started here, or leave the cluster. Harmless when done twice."""
        if self._mine:
            import ray

            self._mine = False
            with _process_kept():
                ray.shutdown()
        self._clear()

    def _clear(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of a cluster's address. Raises InvalidInput if it is none."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise InvalidInput(f"--address {address}: name the cluster as host:port, as `ray start` does")
    return host.strip("[]"), int(port)


def _reach(address: str) -> None:
    """Raise EngineLost at once where nothing listens: Ray would try again for minutes."""
    try:
        socket.create_connection(host_and_port(address), timeout=_REACH_SECONDS).close()
    except OSError as error:
        raise EngineLost(f"--address {address}: nothing answers there: {error.strerror or error}") from error


def _ray(*, local: bool) -> Any:
    """The module, told beforehand what it only asks when it is imported."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "3")
    # It prints what befalls workers on standard output, which is for results; they are told of by `checker`.
    os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] = "."
    if local:
        # Workers are as nice as the command itself: at Ray's 15 anything else on the machine starves them.
        os.environ.setdefault("RAY_worker_niceness", "0")
        # Ray's own switch for "one machine only": everything then binds to loopback.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    return ray


def _processors(ray: Any) -> int:
    return int(ray.cluster_resources().get("CPU", 0))


@contextmanager
def _process_kept() -> Iterator[None]:
    """Ray puts its own handler of SIGTERM in the place of ours, and marks of its own into every log record."""
    names = [signal.SIGINT, signal.SIGTERM] if threading.current_thread() is threading.main_thread() else []
    before = [(name, signal.getsignal(name)) for name in names]
    factory = logging.getLogRecordFactory()
    try:
        yield
    finally:
        logging.setLogRecordFactory(factory)
        for name, handler in before:
            if handler is not None:
                signal.signal(name, handler)
