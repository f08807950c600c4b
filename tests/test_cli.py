import socket
import subprocess
import sys

import msgspec
import pytest

from voiceedge import __version__, cli, cli_serve
from voiceedge.config import FIELDS, PREFIX, Config


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command line; returns (exit code, lines on stdout, lines on stderr)."""
    for name in FIELDS:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["voiceedge", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code or 0, out.splitlines(), err.splitlines()

    return call


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_version_is_told(run):
    assert run("--version") == (0, [f"voiceedge {__version__}"], [])


def test_the_command_line_is_there_before_numpy_and_the_engines():
    code = "import sys, voiceedge.cli; print({'numpy', 'onnxruntime', 'starlette'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_help_names_the_commands(run):
    code, out, _ = run("--help")
    assert code == 0
    for command in ("serve", "bench", "models", "regions", "doctor", "token"):
        assert any(command in line for line in out)


# ── every setting is an option, and its help says what holds without it ───────────────────────────────────


def the_help(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")  # one line an option
    code, out, _ = run("serve", "--help")
    assert code == 0
    return out


SECRET = {"auth_secret", "otlp_headers"}
"""Other users of the machine see a command line, so these have no option."""
OPTIONS = [name for name in FIELDS if name not in SECRET]


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_but_a_secret_is_an_option_of_serve(run, monkeypatch, name):
    option = "--" + name.replace("_", "-")
    assert any(f"{option} " in line for line in the_help(run, monkeypatch)) == (name in OPTIONS)


def shown_default(name):
    """A default as the help has to show it."""
    default = getattr(Config(), name)
    if default is None or default == "":
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)


@pytest.mark.parametrize("name", [name for name in OPTIONS if name not in {"home", "instructions"}])
def test_the_help_of_serve_says_every_default(run, monkeypatch, name):
    option = "--" + name.replace("_", "-")
    (line,) = [line for line in the_help(run, monkeypatch) if f"{option} " in line]
    assert f"[default: {shown_default(name)}]" in line


def test_serve_hands_every_option_to_the_settings(run, monkeypatch, tmp_path):
    served = []
    monkeypatch.setattr(cli_serve, "_serve", served.append)
    wanted = Config(
        profile="nano",
        stt_model="ears",
        llm_model="mind",
        tts_model="mouth",
        host="0.0.0.0",
        port=81,
        tls_certificate=tmp_path / "certificate.pem",
        tls_key=tmp_path / "key.pem",
        secret="a secret of more than thirty-two bytes",
        api_keys=tmp_path / "keys.toml",
        auth_keys="https://issuer.example/keys",
        auth_issuer="https://issuer.example/",
        auth_audience="voiceedge",
        auth_algorithms="ES256",
        revoked=tmp_path / "revoked.txt",
        origins="https://shop.example",
        open_to_all=True,
        admin_key="a key of sixteen characters",
        engines="fake",
        max_sessions=3,
        busy_load=1.5,
        sessions_per_address=4,
        proxies="10.0.0.7",
        sessions_an_hour=5,
        audio_seconds_an_hour=600,
        messages_an_hour=9000,
        bytes_an_hour=1_000_000,
        limits_store="redis://10.0.0.5:6379/0",
        context_tokens=512,
        max_answer_tokens=99,
        temperature=0.5,
        top_p=0.9,
        repetition_penalty=1.2,
        draft_after_ms=96,
        plain=True,
        step_timeout_s=7.5,
        drain_s=20,
        audio_speed=3,
        audio_ahead_s=60,
        message_rate=100,
        byte_rate=100_000,
        language="de",
        instructions="Be brief.",
        home=tmp_path,
        offline=True,
        budget="p95<800ms, wait.p95<300ms",
        region="ap-northeast-1",
        latitude=35.6,
        longitude=139.7,
        regions_file=tmp_path / "regions.toml",
        trace_file=tmp_path / "trace.jsonl",
        session_s=60,
        idle_s=30,
        session_tokens=1000,
        max_items=100,
        answer_s=20,
        trace_file_mb=1,
        trace_files=2,
        trace_words=True,
        otlp_endpoint="http://localhost:4318",
        log_level="debug",
        log_format="json",
        record=tmp_path / "recordings",
        record_consent="operator",
        record_days=1,
        record_mb=10,
    )
    arguments = []
    for name, value in msgspec.structs.asdict(wanted).items():
        if name in SECRET:
            continue
        assert value != getattr(Config(), name), f"{name} has to differ from its default here"
        option = "--" + name.replace("_", "-")
        arguments += [option] if value is True else [option, value]
    assert run("serve", *arguments) == (0, [], [])
    assert served == [wanted]


def test_serve_reads_the_file_that_it_is_given(run, monkeypatch, tmp_path):
    served = []
    monkeypatch.setattr(cli_serve, "_serve", served.append)
    file = tmp_path / "node.toml"
    file.write_text('port = 9\nhost = "file"')
    run("serve", "--config", file, "--host", "flag")
    assert served == [Config(port=9, host="flag")]


# ── mistakes of the operator ──────────────────────────────────────────────────────────────────────────────


def run_alone(*arguments):
    """Like `run`, in a process of its own: one that fails when it holds a port leaves that to the system."""
    done = subprocess.run([sys.executable, "-m", "voiceedge.cli", *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout, [line for line in done.stderr.splitlines() if line.strip()]


def test_a_port_that_is_taken_is_one_line(taken_port):
    code, out, (line,) = run_alone("serve", "--engines", "fake", "--port", str(taken_port))
    assert (code, out) == (2, "")
    assert line.startswith(f"voiceedge: Port {taken_port} on 127.0.0.1 is taken")


def test_an_unknown_profile_is_one_line(tmp_path):
    code, out, (line,) = run_alone("serve", "--profile", "nope", "--offline", "--port", "0", "--home", str(tmp_path))
    assert (code, out) == (2, "")
    assert line.startswith("voiceedge: There is no profile 'nope'; known are: nano, ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--config", "nowhere.toml"], "Cannot read the configuration file nowhere.toml"),
        (["serve", "--port", "99999"], "Setting 'port' on the command line"),
        (["serve", "--engines", "imaginary"], "Setting 'engines' on the command line"),
        (["bench", "--audio", "nowhere.wav"], "Cannot read nowhere.wav"),
        (["bench", "--audio", "{broken}"], "Cannot decode"),
        (["bench", "--turn-detection", "guess"], "guess"),
        (["bench", "smtp://node"], "'smtp://node' is not a node's address"),
        (["models", "pull", "nope", "--home", "{home}"], "There is no model 'nope'"),
        (["models", "verify", "nope", "--home", "{home}"], "There is no model 'nope'"),
    ],
)
def test_a_mistake_of_the_operator_is_one_line_and_exit_code_2(run, tmp_path, arguments, message):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"this is no sound")
    code, out, err = run(*(a.format(broken=broken, home=tmp_path) for a in arguments))
    assert (code, out) == (2, [])
    (line,) = [line for line in err if line.strip()]
    assert line.startswith("voiceedge: ")
    assert message in line


def test_a_variable_that_nobody_knows_is_one_line_and_exit_code_2(run, monkeypatch):
    monkeypatch.setenv("VOICEEDGE_PROT", "1")
    code, _, err = run("serve")
    assert code == 2
    assert err == ["voiceedge: Unknown setting 'prot' in the environment; did you mean 'port'?"]


@pytest.mark.parametrize("arguments", [["serve", "--prot", "1"], ["serve", "--port", "http"], ["sreve"]])
def test_an_option_or_command_that_does_not_exist_or_fit_is_explained(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, [])
    assert any(arguments[-2 if len(arguments) > 2 else 0] in line for line in err)


def test_markup_in_a_message_is_shown_as_it_is(run):
    _, _, err = run("serve", "--config", "[red]x.toml")
    assert "[red]x.toml" in err[0]
