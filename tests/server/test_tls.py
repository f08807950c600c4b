import asyncio
import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys

import pytest
from websockets.asyncio.client import connect

from tests.certificates import self_signed
from tests.e2e.nodes import running_node
from tests.test_image import final
from voiceedge.config import Config
from voiceedge.engines.fake import fake_engines
from voiceedge.errors import ConfigError
from voiceedge.server.tls import load_certificate, tls_context


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def node(files):
    certificate, key = files
    with running_node(fake_engines(slots=4), tls_certificate=certificate, tls_key=key) as node:
        yield node


def trusting(certificate, **settings):
    context = ssl.create_default_context(cafile=certificate)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def get(node, path, context):
    """Status, body and TLS version of an answer."""
    with (
        socket.create_connection(("127.0.0.1", node.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(f"GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while more := secure.recv(1 << 16):
            answer += more
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body, secure.version()


# ── the settings ──────────────────────────────────────────────────────────────────────────────────────────


def context_of(certificate, key):
    return tls_context(Config(tls_certificate=certificate, tls_key=key))


def test_without_files_there_is_no_tls():
    assert tls_context(Config()) is None


def test_one_of_the_two_alone_is_refused_and_the_other_one_named(files):
    with pytest.raises(ConfigError, match="tls_key is not set"):
        context_of(files[0], None)
    with pytest.raises(ConfigError, match="tls_certificate is not set"):
        context_of(None, files[1])


def test_a_file_that_is_not_there_is_named(files, tmp_path):
    missing = tmp_path / "gone.pem"
    with pytest.raises(ConfigError, match=r"certificate .*gone\.pem: No such file"):
        context_of(missing, files[1])
    with pytest.raises(ConfigError, match=r"key .*gone\.pem: No such file"):
        context_of(files[0], missing)


def test_a_key_of_another_certificate_is_refused(files, tmp_path):
    _, other = self_signed(tmp_path, "other")
    with pytest.raises(ConfigError, match=r"other-key\.pem does not belong to the certificate .*node\.pem"):
        context_of(files[0], other)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(tmp_path):
    certificate, key = self_signed(tmp_path, password=b"open sesame")
    with pytest.raises(ConfigError, match=r"node-key\.pem is encrypted"):
        context_of(certificate, key)


def test_what_is_no_certificate_is_refused(files, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a certificate")
    with pytest.raises(ConfigError, match=r"notes\.txt.*no PEM certificate and its key"):
        context_of(text, files[1])


def test_the_oldest_version_is_not_left_to_the_distribution(files):
    assert context_of(*files).minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_wrong_certificate_ends_the_start_in_one_line(files):
    command = [sys.executable, "-m", "voiceedge.cli", "serve", "--engines", "fake", "--port", "0"]
    done = subprocess.run([*command, "--tls-certificate", files[0]], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == "voiceedge: tls_certificate and tls_key go together, and tls_key is not set."


def test_certificates_can_be_loaded_anew(files, tmp_path):
    context = context_of(*files)
    renewed = self_signed(tmp_path)
    load_certificate(context, *renewed)
    server_in, server_out, client_in, client_out = (ssl.MemoryBIO() for _ in range(4))
    server = context.wrap_bio(server_in, server_out, server_side=True)
    client = trusting(renewed[0]).wrap_bio(client_in, client_out, server_hostname="localhost")
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            server_in.write(client_out.read())
            client_in.write(server_out.read())
    assert client.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(renewed[0].read_text())


# ── a node with TLS ───────────────────────────────────────────────────────────────────────────────────────


def test_the_side_endpoints_answer_over_https(node, files):
    for path in ("/healthz", "/readyz", "/v1/models", "/"):
        assert get(node, path, trusting(files[0]))[0] == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_today_are_spoken(node, files, version):
    context = trusting(files[0], minimum_version=version, maximum_version=version)
    assert get(node, "/healthz", context)[2] == version.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
def test_no_older_version_is_spoken(node, files):
    context = trusting(files[0], minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # else the client's own OpenSSL refuses, and nothing is asked
    with pytest.raises((ssl.SSLError, ConnectionResetError)) as refused:
        get(node, "/healthz", context)
    assert getattr(refused.value, "reason", None) not in {"NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE"}


async def test_a_conversation_runs_over_wss(node, files):
    assert node.url.startswith("wss://")
    async with connect(node.url, ssl=trusting(files[0])) as client, asyncio.timeout(20):
        await client.send(json.dumps({"type": "response.create"}))
        kinds = []
        while "response.done" not in kinds:
            kinds.append(json.loads(await client.recv())["type"])
    assert "response.output_audio.delta" in kinds


def test_who_speaks_plain_http_gets_no_answer(node):
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/1.1 2" not in plain.recv(1 << 16)


async def test_a_node_with_tls_that_stops_says_goodbye(files):
    certificate, key = files
    with running_node(fake_engines(), tls_certificate=certificate, tls_key=key) as node:
        async with connect(node.url, ssl=trusting(certificate)) as client, asyncio.timeout(10):
            await client.recv()
            node.stop()
            await client.wait_closed()
            assert client.close_code == 1001


# ── the container ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_images_health_check_knows_of_tls(node, files):
    (check,) = final("HEALTHCHECK")
    _, *arguments = json.loads(check.partition(" CMD ")[2])

    def is_healthy(**settings):
        environment = {"PATH": os.environ["PATH"], "VOICEEDGE_PORT": str(node.port), **settings}
        return (
            subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, timeout=20).returncode
            == 0
        )

    assert is_healthy(VOICEEDGE_TLS_CERTIFICATE=str(files[0]))
    assert not is_healthy()
