"""What the image promises, read from its files; scripts/image builds and runs it."""

import http.server
import json
import re
import shlex
import socket
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
import yaml

from voiceedge.config import PREFIX, Config, load_config
from voiceedge.server.serving import DRAIN_S

ROOT = Path(__file__).resolve().parents[1]
SHUTDOWN_S = 5
"""How long uvicorn closes connections after the drain (`timeout_graceful_shutdown`)."""


def instructions():
    """(name, argument) of the Dockerfile, continued lines joined and comments dropped."""
    lines = [
        line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if not line.lstrip().startswith("#")
    ]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


INSTRUCTIONS = instructions()
FINAL = INSTRUCTIONS[max(i for i, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM") :]
RUNS = [argument for name, argument in INSTRUCTIONS if name == "RUN"]
COPIED = [
    source
    for name, argument in INSTRUCTIONS
    if name == "COPY" and not argument.startswith("--from=")
    for source in argument.split()[:-1]
]
"""What the build takes from the checkout."""
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["voiceedge"]


def final(name):
    """The arguments of one instruction in the last stage, which is what is shipped."""
    return [argument for kind, argument in FINAL if kind == name]


def environment():
    return dict(pair.split("=", 1) for argument in final("ENV") for pair in shlex.split(argument))


def seconds(stated):
    return float(stated.removesuffix("s"))


def test_bases_are_arguments_of_one_python():
    stages = [argument.split() for name, argument in INSTRUCTIONS if name == "FROM"]
    names = {stage[2] for stage in stages if len(stage) == 3}
    assert {stage[0] for stage in stages} - names == {"${BASE}", "${BUILDER}"}
    defaults = dict(argument.split("=") for name, argument in INSTRUCTIONS if name == "ARG" and "/" in argument)
    tag = re.fullmatch(r"[\w./]+:(\d+\.\d+)-slim-(\w+)", defaults["BASE"])
    assert tag is not None, "a tag that says which Python of which Debian, not latest"
    assert defaults["BUILDER"].endswith(f":{tag[1]}-{tag[2]}")


def test_libraries_are_installed_as_pinned_and_hashed():
    (install,) = [run for run in RUNS if "run.txt" in run]
    assert "--require-hashes" in install


def test_whatever_asks_a_registry_gets_pips_settings_as_a_mount_and_nothing_else_of_the_builders():
    asking = [run for run in RUNS if "pip --python" in run or "models pull" in run]
    assert len(asking) == 3
    for run in asking:
        assert "--mount=type=secret,id=pip,target=/etc/pip.conf" in run
        assert "--mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt" in run
    assert "--mount=type=secret,id=npm,target=/root/.npmrc" in asking[-1]
    assert not [argument for name, argument in INSTRUCTIONS if name in {"ENV", "ARG", "COPY"} and "index" in argument]


def test_the_reference_engine_and_its_gpl_codecs_stay_out():
    installed = re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / "run.txt").read_text("utf-8"), re.MULTILINE)
    assert {"faster-whisper", "av", "pyav"} & {name.lower() for name in installed} == set()
    assert "onnxruntime" in installed


def test_the_shipped_stage_runs_nothing_and_copies_from_the_stages_only():
    assert final("RUN") == []
    assert all(argument.startswith("--from=") for argument in final("COPY"))
    assert final("ADD") == []


def test_it_runs_as_a_user_who_is_not_root_and_has_a_number():
    (user,) = final("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_its_settings_are_settings_and_fetch_nothing():
    chosen = {name: value.replace("${PROFILE}", "nano") for name, value in environment().items()}
    config = load_config({}, environment=chosen)
    assert config.offline
    assert config.home == Path("/models")
    assert config.profile == "nano"
    assert config.host == "0.0.0.0"
    assert {name for name in chosen if name.startswith(PREFIX)} == {
        f"{PREFIX}{name}" for name in ("PROFILE", "HOME", "OFFLINE", "HOST", "PORT")
    }


def test_onnxruntime_tells_nobody_about_the_node():
    assert environment()["ORT_DISABLE_TELEMETRY"] == "1"


def test_nothing_writes_below_its_root():
    assert environment()["PYTHONDONTWRITEBYTECODE"] == "1"
    assert environment()["HOME"] == "/tmp"
    assert COMPOSE["read_only"] is True
    assert [mount.split(":")[0] for mount in COMPOSE["tmpfs"]] == ["/tmp"]


def test_the_profile_that_is_pulled_is_the_profile_that_is_served():
    arguments = [argument for name, argument in INSTRUCTIONS if name == "ARG" and argument.startswith("PROFILE")]
    assert arguments == [f"PROFILE={Config().profile}"] * 2
    assert 'voiceedge models pull "${PROFILE}"' in "".join(RUNS)
    assert COMPOSE["build"]["args"]["PROFILE"] == f"${{PROFILE:-{Config().profile}}}"


def test_one_port_everywhere():
    port = str(Config().port)
    assert final("EXPOSE") == [port]
    assert environment()["VOICEEDGE_PORT"] == port
    assert COMPOSE["ports"] == [f"127.0.0.1:{port}:{port}"]


@pytest.fixture
def asked():
    """A server that answers with `asked.status` and keeps the path that it was asked for."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.path = self.path
            self.send_response(self.server.status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield server
        server.shutdown()
        serving.join()


def is_healthy(port):
    """Run the health check's command as the engine would, with a proxy in its way."""
    (check,) = final("HEALTHCHECK")
    python, *arguments = json.loads(check.partition(" CMD ")[2])
    assert python == "python"
    settings = {"VOICEEDGE_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run([sys.executable, *arguments], env=settings, capture_output=True, timeout=20).returncode == 0


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_healthy_is_alive_and_not_ready_since_nobody_may_kill_a_node_that_drains(asked, status, healthy):
    asked.status = status
    assert is_healthy(asked.server_port) == healthy
    assert asked.path == "/healthz"


def test_a_node_that_does_not_answer_is_unhealthy():
    with socket.socket() as bound:  # a node that loads holds its port, and does not listen yet
        bound.bind(("127.0.0.1", 0))
        assert not is_healthy(bound.getsockname()[1])


def test_it_gets_sigterm_and_the_time_to_drain():
    assert final("STOPSIGNAL") == ["SIGTERM"]
    assert [json.loads(argument) for argument in final("ENTRYPOINT")] == [["voiceedge", "serve"]]
    assert seconds(COMPOSE["stop_grace_period"]) >= DRAIN_S + SHUTDOWN_S
    assert COMPOSE["init"] is True


def test_the_container_has_no_more_rights_than_it_needs():
    assert COMPOSE["cap_drop"] == ["ALL"]
    assert COMPOSE["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in COMPOSE
    assert "cap_add" not in COMPOSE
    assert COMPOSE["mem_limit"]


def test_what_is_copied_is_in_the_context_and_nothing_else_is():
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    admitted = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert set(COPIED) == admitted
    assert all((ROOT / source).exists() for source in admitted)


def test_the_wheel_that_is_built_inside_finds_all_that_its_project_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    needed = {project["project"]["readme"], *project["project"]["license-files"], *included, "voiceedge"}
    assert needed <= set(COPIED)


def test_the_script_is_bash_that_parses():
    assert subprocess.run(["bash", "-n", ROOT / "scripts" / "image"], capture_output=True).returncode == 0
