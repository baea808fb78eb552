"""Dockerfile, compose.yaml and the systemd unit: what they promise, and that what they name is there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from image import ROOT, instructions, value

from weighup.settings import Settings

yaml = pytest.importorskip("yaml", reason="needs pip install pyyaml")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "weighup"]
UNIT = ROOT / "packaging" / "weighup.service"


def test_every_source_that_is_copied_is_there_and_is_let_through() -> None:
    let_through = [line[1:] for line in lines(ROOT / ".dockerignore") if line.startswith("!")]
    copied = [shlex.split(rest) for word, rest in instructions() if word == "COPY" and "--from=" not in rest]
    sources = [source for words in copied for source in words[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        parts = [str(Path(*Path(source).parts[: n + 1])) for n in range(len(Path(source).parts))]
        assert set(parts) <= set(let_through), f"{source} is kept out by .dockerignore"
    assert lines(ROOT / ".dockerignore")[0] == "*"


def test_what_the_build_needs_is_copied() -> None:
    """The wheel's own list: readme, licences, packages, and what is put into it by force."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [project["project"]["readme"], *project["project"]["license-files"], *wheel["packages"]]
    needed += list(wheel["force-include"])
    copied = [word for key, rest in instructions() if key == "COPY" for word in shlex.split(rest)[:-1]]
    for path in needed:
        assert any(path == one or path.startswith(f"{one}/") for one in copied), path
    extras = re.search(r"pip install '\.\[([\w,]+)\]'", "\n".join(rest for _, rest in instructions()))
    assert extras is not None
    assert set(extras[1].split(",")) <= set(project["project"]["optional-dependencies"])
    assert "train" not in extras[1]  # torch


def test_the_image_is_not_root_and_says_whether_it_is_well() -> None:
    last = instructions()[max(i for i, (word, _) in enumerate(instructions()) if word == "FROM") :]
    user = next(rest for word, rest in last if word == "USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)  # numbers: Kubernetes can tell that it is not root
    order = [word for word, _ in last]
    assert order.index("USER") < order.index("CMD")
    assert not [rest for word, rest in last[order.index("USER") :] if word == "COPY"]
    check = json.loads(value("HEALTHCHECK").partition("CMD ")[2])
    compile(check[2], "HEALTHCHECK", "exec")
    assert "/healthz" in check[2]
    assert str(Settings().serve.port) in check[2]
    assert value("EXPOSE") == str(Settings().serve.port)
    assert not re.search(r"(?i)password|secret|_key", "\n".join(rest for _, rest in instructions()))


def test_the_images_command_is_one_of_ours() -> None:
    from typer.main import get_group

    from weighup.cli.main import app

    known = get_group(app)
    for words in (
        json.loads(value("CMD")),
        *(service["command"] for name, service in SERVICES.items() if name in OURS),
    ):
        command = known.commands[words[0]]
        inner = getattr(command, "commands", None)
        if inner is not None:
            command, words = inner[words[1]], words[1:]
        command.make_context(words[0], list(words[1:]), resilient_parsing=False)
    assert json.loads(value("ENTRYPOINT")) == ["weighup"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["pids_limit"] > 0
    assert not {"privileged", "network_mode", "pid", "ipc", "devices"} & set(service)
    assert any(mount.startswith("/tmp:size=") for mount in service["tmpfs"])
    assert all("size=" in mount for mount in service["tmpfs"])
    assert service["logging"]["options"]["max-size"]
    if name not in OURS:
        assert service["user"] not in ("root", "0")
        assert service["healthcheck"]["test"]
    for volume in service["volumes"]:
        assert volume.partition(":")[0] in COMPOSE["volumes"]  # named ones only, nothing of the host's


def test_secrets_come_from_files_of_their_own() -> None:
    for name, service in SERVICES.items():
        assert service["env_file"], name
        assert not re.search(r"(?i)password|secret|://", json.dumps(service["environment"])), name
        for file in service["env_file"]:
            example = ROOT / "packaging" / f"{file}.example"
            assert example.is_file()
            assert not (ROOT / file).exists() or is_ignored(file), f"{file} would be committed"
    assert SERVICES["database"]["env_file"] != SERVICES["weighup"]["env_file"]


def is_ignored(file: str) -> bool:
    return subprocess.run(["git", "check-ignore", "-q", file], cwd=ROOT, check=False).returncode == 0


def test_the_examples_of_environment_name_only_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from weighup.settings import load_settings

    told = lines(ROOT / "packaging" / "weighup.env.example", comments=True)
    given = dict(line.lstrip("#").split("=", 1) for line in told if re.match(r"#?[A-Z_]+=", line))
    assert len(given) >= 8
    for name, text in given.items():
        monkeypatch.setenv(name, text)
    settings = load_settings()
    named = {settings.watch.webhook_secret_env, settings.watch.smtp_password_env}
    assert {name for name in given if not name.startswith("WEIGHUP_")} == named
    assert all(not given[name] for name in named)
    host = given["WEIGHUP_DATABASE"].rpartition("@")[2].partition("/")[0]
    assert SERVICES[host]["image"].startswith("pgvector/")


def test_only_loopback_of_the_host_is_opened_and_the_database_to_nobody() -> None:
    assert SERVICES["weighup"]["ports"] == ["127.0.0.1:8642:8642"]
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["weighup"]
    assert COMPOSE["networks"]["inner"]["internal"] is True
    assert SERVICES["database"]["networks"] == ["inner"]


def test_the_tables_are_upgraded_before_anything_serves() -> None:
    waits = SERVICES["weighup"]["depends_on"]
    assert waits["upgrade"]["condition"] == "service_completed_successfully"
    assert waits["database"]["condition"] == "service_healthy"
    assert SERVICES["upgrade"]["command"] == ["db", "upgrade"]
    assert SERVICES["upgrade"]["restart"] == "no"


def test_time_to_stop_is_longer_than_a_request_may_take() -> None:
    least = Settings().serve.request_seconds + 5
    assert int(SERVICES["weighup"]["stop_grace_period"].removesuffix("s")) > least
    stop = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) > least


def test_all_that_is_written_to_is_a_volume_or_in_memory() -> None:
    volumes = set(json.loads(value("VOLUME")))
    for name in OURS:
        service = SERVICES[name]
        places = {mount.partition(":")[2] for mount in service["volumes"]}
        places |= {mount.partition(":")[0] for mount in service["tmpfs"]}
        assert volumes | {"/tmp"} == places


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with the command where it is on this machine."""
    command = Path(sys.executable).parent / "weighup"
    if shutil.which("systemd-analyze") is None or not command.exists():
        pytest.skip("systemd-analyze or the installed command is not here")
    changed = tmp_path / "weighup.service"
    changed.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/weighup/bin/weighup", str(command)))
    return changed


def test_systemd_takes_the_unit_as_it_is(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_little_exposed(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd cannot look at a unit that does not run")
    assert done.returncode == 0, done.stdout[-300:]


def test_the_unit_runs_what_the_image_runs() -> None:
    text = UNIT.read_text(encoding="utf-8")
    assert "ExecStartPre=/opt/weighup/bin/weighup db upgrade\n" in text
    assert "ExecStart=/opt/weighup/bin/weighup serve\n" in text
    assert "User=weighup\n" in text
    assert not re.search(r"(?i)password=|secret=", text)


def lines(file: Path, *, comments: bool = False) -> list[str]:
    text = file.read_text(encoding="utf-8").splitlines()
    return [line for line in text if line and (comments or not line.startswith("#"))]
