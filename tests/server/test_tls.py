import asyncio
import contextlib
import errno
import json
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.certificates import self_signed
from tests.e2e.nodes import running_node
from tests.e2e.processes import FAKE
from tests.e2e.processes import node as process
from tests.test_image import final
from voiceedge.config import Config
from voiceedge.engines.fake import fake_engines
from voiceedge.errors import ConfigError
from voiceedge.server import serving
from voiceedge.server.tls import tls_context


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


# ── files that change ─────────────────────────────────────────────────────────────────────────────────────


def put(file, source):
    """Write a file in place, at a moment that no file system takes for the same."""
    later = file.stat().st_mtime_ns + 1_000_000_000
    file.write_bytes(source if isinstance(source, bytes) else source.read_bytes())
    os.utime(file, ns=(later, later))


def shown(context, host="localhost"):
    """The certificate that a server in `context` shows, in DER."""
    server_in, server_out, client_in, client_out = (ssl.MemoryBIO() for _ in range(4))
    server = context.wrap_bio(server_in, server_out, server_side=True)
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    client = anybody.wrap_bio(client_in, client_out, server_hostname=host)
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            server_in.write(client_out.read())
            client_in.write(server_out.read())
    return client.getpeercert(binary_form=True)


def der(certificate):
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


@pytest.fixture
def pair(tmp_path):
    """A pair in use, and another one that may take its place."""
    for name in ("used", "renewed"):
        (tmp_path / name).mkdir()
    return self_signed(tmp_path / "used"), self_signed(tmp_path / "renewed")


@pytest.mark.parametrize("host", ["localhost", None])
def test_a_renewed_pair_is_shown_from_the_next_handshake_on_with_or_without_a_name(pair, host, caplog):
    caplog.set_level("INFO")
    used, renewed = pair
    context = context_of(*used)
    before = der(used[0])
    assert shown(context, host) == before
    for file, source in zip(used, renewed, strict=True):
        put(file, source)
    assert shown(context, host) == der(renewed[0]) != before
    assert [record.levelname for record in caplog.records] == ["INFO"]


@pytest.mark.parametrize("first", [0, 1])
def test_certificate_and_key_may_change_one_after_the_other(pair, first, caplog):
    used, renewed = pair
    context = context_of(*used)
    before = der(used[0])
    put(used[first], renewed[first])
    assert [shown(context) for _ in range(3)] == [before] * 3
    assert len(caplog.records) == 1
    assert "does not belong to the certificate" in caplog.records[0].message
    put(used[1 - first], renewed[1 - first])
    assert shown(context) == der(renewed[0])


@pytest.mark.parametrize("which", [0, 1])
def test_half_a_file_leaves_the_old_pair_with_one_warning_until_it_is_whole(pair, which, caplog):
    used, renewed = pair
    context = context_of(*used)
    before = der(used[0])
    whole = renewed[which].read_bytes()
    for size in (0, len(whole) // 3, len(whole) // 2):
        put(used[which], whole[:size])
        assert shown(context) == before
    assert 1 <= len(caplog.records) <= 2, "nothing at all is another complaint than half of it"
    warned = len(caplog.records)
    assert shown(context) == before
    assert len(caplog.records) == warned
    for file, source in zip(used, renewed, strict=True):
        put(file, source)
    assert shown(context) == der(renewed[0])


def test_a_file_that_is_gone_for_a_moment_leaves_the_old_pair(pair, caplog):
    used, renewed = pair
    context = context_of(*used)
    before = der(used[0])
    used[0].unlink()
    assert [shown(context) for _ in range(2)] == [before] * 2
    assert "No such file" in caplog.text
    used[0].write_bytes(renewed[0].read_bytes())
    put(used[1], renewed[1])
    assert shown(context) == der(renewed[0])


def test_a_renewed_pair_that_cannot_be_read_at_first_is_taken_up_once_it_can(pair, monkeypatch, caplog):
    """Whoever renews it may set its owner and its mode afterwards: neither of them touches what is in the file."""
    used, renewed = pair
    context = context_of(*used)
    before = der(used[0])
    for file, source in zip(used, renewed, strict=True):
        put(file, source)
    with monkeypatch.context() as denying:
        denying.setattr(Path, "open", denied)
        assert [shown(context) for _ in range(3)] == [before] * 3
    assert len(caplog.records) == 1
    assert shown(context) == der(renewed[0])


def denied(*_):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_pair_that_is_linked_to_is_followed_to_the_next_one(pair, tmp_path):
    """As certbot keeps them: the names stay, and what they point to changes."""
    used, renewed = pair
    links = [tmp_path / name for name in ("fullchain.pem", "privkey.pem")]
    for link, file in zip(links, used, strict=True):
        link.symlink_to(file)
    context = context_of(*links)
    assert shown(context) == der(used[0])
    for link, file in zip(links, renewed, strict=True):
        (tmp_path / "next").symlink_to(file)
        (tmp_path / "next").replace(link)
    assert shown(context) == der(renewed[0])


def test_what_has_not_changed_is_not_read_again(pair, monkeypatch):
    context = context_of(*pair[0])
    monkeypatch.setattr("voiceedge.server.tls._context", lambda *_: pytest.fail("read again"))
    assert shown(context) == der(pair[0][0])


async def test_a_node_takes_up_a_renewed_pair_and_its_conversations_go_on(pair):
    used, renewed = pair
    with running_node(fake_engines(slots=4), tls_certificate=used[0], tls_key=used[1]) as node:
        before = trusting(used[0])
        async with connect(node.url, ssl=before) as client, asyncio.timeout(20):
            await client.recv()
            for file, source in zip(used, renewed, strict=True):
                put(file, source)
            status, _, _ = await asyncio.to_thread(get, node, "/healthz", trusting(renewed[0]))
            assert status == 200
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.to_thread(get, node, "/healthz", before)
            await client.send(json.dumps({"type": "response.create"}))
            kinds = []
            while "response.done" not in kinds:
                kinds.append(json.loads(await client.recv())["type"])


async def test_the_command_lines_own_event_loop_does_so_too(pair):
    used, renewed = pair
    async with process(*FAKE, "--tls-certificate", str(used[0]), "--tls-key", str(used[1])) as node:
        for certificate, _ in (used, renewed):
            status, _, _ = await asyncio.to_thread(get, node, "/healthz", trusting(certificate))
            assert status == 200
            for file, source in zip(used, renewed, strict=True):
                put(file, source)


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


def test_who_does_not_get_on_with_the_handshake_is_given_up(files, monkeypatch):
    monkeypatch.setattr(serving, "HANDSHAKE_S", 0.05)
    certificate, key = files
    with running_node(fake_engines(), tls_certificate=certificate, tls_key=key) as node:
        half = trusting(certificate).wrap_bio(ssl.MemoryBIO(), hello := ssl.MemoryBIO(), server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            half.do_handshake()
        for begun in (b"", hello.read()[:100]):
            with socket.create_connection(("127.0.0.1", node.port), timeout=10) as plain:
                plain.sendall(begun)
                with contextlib.suppress(ConnectionResetError):
                    assert plain.recv(1 << 16) == b""


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
