"""What operators write: settings, budgets, manifests, lists of nodes, addresses; and files that come from elsewhere."""

from __future__ import annotations

import json
import struct
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from tests.fuzz.target import Page, Target
from voiceedge.bench.address import endpoint, shown_url, turn_detection
from voiceedge.budget import parse_budget
from voiceedge.config import FIELDS, PREFIX, load_config, npm_registry, supervision
from voiceedge.errors import ConfigError
from voiceedge.modelstore.integrity import STAMPS, _read_stamps
from voiceedge.modelstore.manifest import read_catalogue, read_manifest, shipped_folder
from voiceedge.regions.http import NoAnswer
from voiceedge.regions.nodes import candidate, read_nodes
from voiceedge.regions.places import place_of
from voiceedge.server.judging import read_budget

_TOML = Page("node.toml")
_MANIFEST = Page("fuzzed.toml")
_BUDGET = Page("budget.toml")
_NODES = Page("nodes.toml")
_NPMRC = Page("npmrc")
_STAMPS = Page(STAMPS)
_PROFILE = Page("fuzzed.toml")


def settings_file(data: bytes) -> None:
    """A configuration file."""
    load_config({}, _TOML.of(data), {})


def environment(data: bytes) -> None:
    """Variables, a line each, of which each may hold any text that a variable can."""
    pairs = [line.partition("=") for line in data.decode("utf-8", "surrogateescape").replace("\0", "").split("\n")]
    others = {name: value for name, _, value in pairs if name.startswith(("OTEL", "NOTIFY", "WATCHDOG"))}
    found = {f"{PREFIX}{name}": value for name, _, value in pairs if name != "CONFIG" and name not in others}
    supervision(others)
    config = load_config({}, None, {**found, **others})
    assert config == load_config(msgspec.structs.asdict(config), None, {})


def budget(data: bytes) -> None:
    """Limits with commas between them; what was read can be written and read again."""
    found = parse_budget(data.decode("utf-8", "replace"))
    found.judge(100.0, ())
    found.verdicts([1.0, None, 3.0], [(), (), ()])


def budget_file(data: bytes) -> None:
    """A file of limits."""
    read_budget(str(_BUDGET.of(data)))


def manifest(data: bytes) -> None:
    """A model's manifest."""
    found = read_manifest(_MANIFEST.of(data))
    assert found.bytes > 0
    assert found.weights in found.files


def profile(data: bytes) -> None:
    """A profile, beside the manifests that are shipped."""
    path = _PROFILE.path.parent / "profiles" / "fuzzed.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    _catalogue_with(path).stages("fuzzed")


def _catalogue_with(path: Path) -> Any:
    from voiceedge.modelstore import manifest as module  # noqa: PLC0415

    shipped = _shipped()
    found = module._read(path, module.Profile, lambda profile: profile.id)
    module._check_profile(path, found, shipped.models)
    return msgspec.structs.replace(shipped, profiles={"fuzzed": found})


@cache
def _shipped() -> Any:
    return read_catalogue([shipped_folder()])


def nodes(data: bytes) -> None:
    """A file of nodes."""
    for each in read_nodes(_NODES.of(data)):
        assert each.url


def address(data: bytes) -> None:
    """An address of a node, as two commands take one; what is shown of it holds no password."""
    text = data.decode("utf-8", "replace")
    assert candidate(text).url
    assert endpoint(text, "model")
    shown_url(text)


def shown(data: bytes) -> None:
    """Any text where an address should be."""
    text = data.decode("utf-8", "replace")
    shown_url(text)
    place_of(text)


def detection(data: bytes) -> None:
    """How the bench is told to find the end of a turn."""
    msgspec.json.encode(turn_detection(data.decode("utf-8", "replace")))


def npmrc(data: bytes) -> None:
    """The settings of the user's npm."""
    npm_registry("@scope", {"npm_config_userconfig": str(_NPMRC.of(data))})


def stamps(data: bytes) -> None:
    """What is remembered of files that were checked; what cannot be read is nothing."""
    found, _ = _read_stamps(_STAMPS.of(data).parent)
    assert all(msgspec.json.encode(stamp) for stamp in found.values())


def reply(data: bytes) -> None:
    """What a node answers to `voiceedge regions`; the first byte says in what pieces."""
    import httptools  # noqa: PLC0415

    from voiceedge.regions.http import Reply  # noqa: PLC0415
    from voiceedge.regions.probing import _About, _read, _Ready  # noqa: PLC0415

    step, answer = 1 + (data[0] if data else 0), Reply()
    parser = httptools.HttpResponseParser(answer)
    for begin in range(1, len(data), step):
        try:
            parser.feed_data(data[begin : begin + step])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise NoAnswer("it does not speak HTTP") from error
        if answer.is_complete:
            break
    for kind in (_Ready, _About):
        assert isinstance(_read(answer, kind), kind)


# ── files that come from elsewhere ────────────────────────────────────────────────────────────────────────

_MODEL = Page("model.gguf")
_VOICE = Page("voice.bin")
_FOLDER = Page("whisper/model.bin")


def gguf(data: bytes) -> None:
    """A file that begins like GGUF."""
    from voiceedge.modelstore.recognise import recognise  # noqa: PLC0415

    recognise(_MODEL.of(b"GGUF" + data))


def model_folder(data: bytes) -> None:
    """A folder with a model of CTranslate2: the head of its file, then its vocabulary."""
    from voiceedge.modelstore.recognise import recognise  # noqa: PLC0415

    folder = _FOLDER.path.parent
    folder.mkdir(exist_ok=True)
    size = data[0] if data else 0
    _FOLDER.of(data[1 : 1 + size])
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes(b"{}")
    (folder / "vocabulary.json").write_bytes(data[1 + size :])
    recognise(folder)


def _field(name: str, value: str | float) -> bytes:
    key = struct.pack("<Q", len(name)) + name.encode()
    if isinstance(value, float):
        return key + struct.pack("<If", 6, value)
    if isinstance(value, int):
        return key + struct.pack("<II", 4, value)
    return key + struct.pack("<IQ", 8, len(value)) + value.encode()


def _small_gguf() -> bytes:
    """The fields of a model, and a weight of 32 numbers, behind the magic."""
    numbers = ("attention.head_count", "embedding_length", "block_count", "feed_forward_length", "context_length")
    fields = [_field("general.architecture", "llama"), *(_field(f"llama.{name}", 4) for name in numbers)]
    fields += [_field("llama.attention.layer_norm_rms_epsilon", 1e-5)]
    fields += [_field("tokenizer.chat_template", "{{ messages }}"), _field("general.license", "mit")]
    name = b"token_embd.weight"
    tensor = struct.pack("<Q", len(name)) + name + struct.pack("<IQQIQ", 2, 4, 8, 0, 0)
    head = struct.pack("<IQQ", 3, 1, len(fields)) + b"".join(fields) + tensor
    return head + bytes(-(len(head) + 4) % 32) + bytes(128)


_CONFIG = 'port = 81\ntemperature = 0.5\noffline = true\nhome = "/models"\nbudget = "p95<800ms"\nregion = "NRT"\n'
_SHIPPED = (shipped_folder() / "whisper-tiny.en.toml").read_bytes()
_NANO = (shipped_folder() / "profiles" / "nano.toml").read_bytes()
_HTTP = b"\x10HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n" + b'{"status":"ready"}'
_WHISPER = struct.pack("<IH", 6, 12) + b"WhisperSpec\0"
_KEYS = (
    "id",
    "stage",
    "engine",
    "files",
    "sources",
    "kind",
    "url",
    "wheel",
    "npm",
    "path",
    "package",
    "parts",
    "sha256",
)
TARGETS = (
    Target("settings file", settings_file, (ConfigError,), (_CONFIG.encode(), b"tls_key = 1\n"), FIELDS),
    Target(
        "environment",
        environment,
        (ConfigError,),
        (b"PORT=81\nHOME=~/x\nOFFLINE=1\nWATCHDOG_USEC=3000",),
        tuple(map(str.upper, FIELDS)),
    ),
    Target("budget", budget, (ConfigError,), (b"p95<800ms, wait.p95<300ms", b"p50<0.4s,p99.9 < 2 s"), max_bytes=512),
    Target("budget file", budget_file, (ConfigError,), (b"[total]\np95 = 800\n[segments.wait]\np95 = 300.5\n",)),
    Target("manifest", manifest, (ConfigError,), (_SHIPPED.replace(b"whisper-tiny.en", b"fuzzed"),), _KEYS),
    Target(
        "profile",
        profile,
        (ConfigError,),
        (_NANO.replace(b'"nano"', b'"fuzzed"'),),
        ("models", "language", "stt", "llm"),
    ),
    Target("nodes", nodes, (ConfigError,), (b'[[node]]\nurl = "wss://a.example"\nname = "a"\nregion = "NRT"\n',)),
    Target(
        "address",
        address,
        (ConfigError,),
        (b"wss://user:key@host.example:8443/v1?x=1#y", b"[::1]:80", b"host"),
        max_bytes=256,
    ),
    Target("place", shown, (ConfigError,), (b"NRT", b"35.68,139.69", b"ws://u:p@h/x"), max_bytes=256),
    Target("turn detection", detection, (ConfigError,), (b"semantic_vad:high", b"server_vad:500"), max_bytes=64),
    Target("npmrc", npmrc, (ConfigError,), (b"registry = https://x/\n@scope:registry=http://y\n; no\n",)),
    Target("stamps", stamps, (), (json.dumps({"a": {}}).encode(), b"{}")),
    Target("node's answer", reply, (NoAnswer,), (_HTTP,)),
    Target("gguf", gguf, (ConfigError,), (_small_gguf(),), limit_s=2.0),
    Target("model folder", model_folder, (ConfigError,), (bytes([len(_WHISPER)]) + _WHISPER + b'["a", "b"]',)),
)
