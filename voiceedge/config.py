"""Everything chosen at start: read once, validated once, frozen, handed down. The only reader of the environment.

A setting is looked up as flag, then as environment variable (`VOICEEDGE_` and its name in capitals), then in the TOML
file; unknown names are refused in all three.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import platformdirs
from msgspec import Meta, Struct

from voiceedge.errors import ConfigError

PREFIX = "VOICEEDGE_"
BYTES_A_MEGABYTE = 1_000_000
"""In settings whose names end in `_mb`."""
OPENTELEMETRY = {"OTEL_EXPORTER_OTLP_ENDPOINT": "otlp_endpoint", "OTEL_EXPORTER_OTLP_HEADERS": "otlp_headers"}
"""Variables that operators set for all of their services, and the settings that they stand for where nothing else
does."""
DEFAULT_INSTRUCTIONS = (
    "You are a friendly voice assistant. Your answers are spoken aloud, so answer in one or two short sentences of "
    "plain spoken English, without lists, markdown, code or emoji."
)


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of one node."""

    # ── Models ────────────────────────────────────────────────────────────────────────────────────────

    profile: str = "standard"
    """Which models: `nano` (smallest), `standard`, or `voices` (as standard, with several voices)."""
    stt_model: str | None = None
    """Speech-to-text model instead of the profile's, by its id in `voiceedge models list`."""
    llm_model: str | None = None
    """Language model instead of the profile's."""
    tts_model: str | None = None
    """Text-to-speech model, or one added voice of it, instead of the profile's."""
    context_tokens: Annotated[int, Meta(ge=256, le=8192)] = 2048
    """Tokens that the LLM sees at most; a slot costs 50 to 95 MB when it is full."""
    engines: Annotated[str, Meta(pattern="^(real|fake|fake:.+)$")] = "real"
    """`fake` answers without any model: to try a client or a network. `fake:llm+200` does so 200 ms late in one engine
    (of `end_of_turn`, `stt`, `llm`, `tts`; several with commas): to see whether what is watching finds it."""
    step_timeout_s: Annotated[float, Meta(ge=0.5, le=600)] = 20.0
    """Seconds after which a step of an engine (a token, a clause, a window of speech) counts as hung: its turn fails,
    and the engine is loaded anew. The longest ever measured took 1.4 s, on a busy core; a machine that is ten times as
    slow needs no more than this, and who listens has given up before."""
    plain: bool = False
    """The pipeline as commonly built, to compare with: 500 ms of silence, speech-to-text in windows of 30 s, whole
    sentences, no drafts, no cache reuse, sessions one after another."""
    home: Path = Path(platformdirs.user_cache_dir("voiceedge"))
    """Folder of models and builds."""
    offline: bool = False
    """Never fetch anything; missing models end the start."""

    # ── Network ───────────────────────────────────────────────────────────────────────────────────────

    host: str = "127.0.0.1"
    """Address to listen on. Where no key is asked for, another than loopback needs `open_to_all` as well."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    """TCP port; 0 lets the system choose one."""
    tls_certificate: Path | None = None
    """Certificate chain in PEM: the port then speaks https and wss (TLS 1.2 and newer) and nothing else."""
    tls_key: Path | None = None
    """Private key of the certificate in PEM, not encrypted."""
    proxies: str = ""
    """Proxies that may say whom they ask for (`X-Forwarded-For`): addresses and networks, `10.0.0.7,10.1.0.0/16`. What
    others say of it is not believed; without any, whoever comes through a proxy is counted as that."""
    drain_s: Annotated[float, Meta(ge=0, le=3600)] = 15.0
    """Seconds that running answers may take to finish after SIGTERM, while new sessions are refused (503). What is left
    then is cut off. Whoever kills the process afterwards has to wait 10 s longer than that."""
    region: str | None = None
    """Where this machine stands: the code of a cloud's region (`ap-northeast-1`) or an airport (`NRT`), or a city."""
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None
    """Where exactly, in degrees north; the region may then have any name."""
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None
    """The same in degrees east; the two go together."""
    regions_file: Path | None = None
    """TOML file of the nodes that `voiceedge regions` and `voiceedge doctor` measure."""

    # ── Who may talk ──────────────────────────────────────────────────────────────────────────────────

    max_sessions: Annotated[int, Meta(ge=1, le=256)] = 8
    """Conversations at a time; each holds a slot of the KV cache. The next one is refused with 503."""
    session_s: Annotated[int, Meta(ge=1, le=86_400)] = 3600
    """Longest session in seconds; its end is `error` session_expired and close code 1001. OpenAI's is an hour as well,
    so clients know how to connect anew. A token or a key may say less."""
    idle_s: Annotated[int, Meta(ge=0, le=86_400)] = 600
    """Seconds after which a session ends (`session_expired`, 1001) in which nobody takes part: no speech, no answer,
    and of the client no message but audio, for a forgotten microphone streams silence for ever. Ten minutes without a
    word are no conversation any more. 0: never, for a kiosk that listens all day; or let it send an empty
    `session.update` now and then."""
    busy_load: Annotated[float, Meta(ge=0.1, le=1000)] = 2.0
    """Load from which the node takes no more conversations (503, also at `/readyz`), until it has fallen by a quarter:
    engine steps that run, or keep somebody waiting, a thread, for 5 s. 1 is a CPU that is never idle; at 2 every turn
    waits some 0.4 s for it."""
    sessions_per_address: Annotated[int, Meta(ge=0)] = 0
    """Conversations of one address at a time, of IPv6 of one /64; the next one is refused with 429. 0 is no limit: all
    of a shop, and of a mobile network thousands, have one address. Good for an open node that strangers reach."""
    sessions_an_hour: Annotated[int, Meta(ge=0)] = 0
    """Conversations that each tenant may begin in an hour; keys and tokens may say less. 0 is no limit, here and in the
    next three. Where no key is asked for, each address is a tenant."""
    audio_seconds_an_hour: Annotated[int, Meta(ge=0)] = 0
    """Seconds of audio that each tenant may send in an hour."""
    messages_an_hour: Annotated[int, Meta(ge=0)] = 0
    """Messages that each tenant may send in an hour; a microphone makes 180,000 in pieces of 20 ms."""
    bytes_an_hour: Annotated[int, Meta(ge=0)] = 0
    """Bytes of messages that each tenant may send in an hour; a microphone makes 250 million at 24 kHz."""
    limits_store: Annotated[str, Meta(pattern="^rediss?://")] | None = None
    """Redis that counts what tenants use in an hour for all nodes that have the same one, `redis://10.0.0.5:6379/0`;
    needs the extra `redis`. Without it, and while it does not answer, each node counts for itself. A password in it
    belongs into the environment."""
    audio_speed: Annotated[float, Meta(ge=1, le=1000)] = 2.0
    """Seconds of audio that a session may send a second, once it is `audio_ahead_s` ahead of that; who sends more is
    made to wait. A microphone sends 1."""
    audio_ahead_s: Annotated[float, Meta(ge=1, le=3600)] = 300.0
    """Seconds of audio that a session may send at once: recordings come as fast as they can be read."""
    message_rate: Annotated[float, Meta(ge=10, le=100_000)] = 200.0
    """Messages that a session may send a second, after half a minute's worth at once. Speech in pieces of 20 ms are 50
    a second, in pieces of 10 ms 100."""
    byte_rate: Annotated[float, Meta(ge=16_384, le=1_000_000_000)] = 262_144.0
    """Bytes of messages that a session may send a second, after 32 MiB at once. Speech of 24 kHz is 70,000."""
    api_keys: Path | None = None
    """TOML file of static keys, of which it holds hashes (`voiceedge token key`). Read again when it changes."""
    auth_keys: Annotated[str, Meta(min_length=1)] | None = None
    """Public keys of whoever issues tokens: a JSON Web Key Set, at an https URL or in a file."""
    auth_issuer: Annotated[str, Meta(min_length=1)] | None = None
    """`iss` that a token must have; needed for tokens."""
    auth_audience: Annotated[str, Meta(min_length=1)] | None = None
    """`aud` that a token must have; needed for tokens."""
    auth_algorithms: str = "EdDSA,ES256,RS256"
    """What may have signed a token. `HS256` stands alone, and takes `auth_secret` instead of keys."""
    auth_secret: Annotated[str, Meta(min_length=32)] | None = None
    """Signs tokens with HS256, where issuer and node share a secret. Set it in the environment."""
    revoked: Path | None = None
    """File of tokens that are not good any more: a `jti` or a subject a line. Read again when it changes; sessions that
    run on one end within 10 s."""
    origins: str = ""
    """Where pages may come from that connect, as `https://shop.example,https://…`. Empty: anywhere where a key is asked
    for, else from this machine, and from this node where it listens beyond loopback."""
    open_to_all: bool = False
    """Listen on an address that others reach although no key is asked for."""
    secret: Annotated[str, Meta(min_length=32)] | None = None
    """Signs client secrets (`ek_…`): at least 32 characters, the same on all nodes that are to take them. Unset: a
    random one, so that they end with the process. Other users see a command line: set it in the environment."""
    admin_key: Annotated[str, Meta(min_length=16)] | None = None
    """Opens `/metrics` and `/trace`, as bearer token or as password in the browser: at least 16 characters. Unset:
    they are shown to this machine only, and not through a proxy. Set it in the environment."""

    # ── Answers ───────────────────────────────────────────────────────────────────────────────────────

    instructions: str = DEFAULT_INSTRUCTIONS
    """System prompt for clients that bring none."""
    language: str = "en"
    """Language that is heard (ISO 639-1). The default voice speaks English only."""
    max_answer_tokens: Annotated[int, Meta(ge=16, le=4096)] = 300
    """Longest answer, about a minute and a half of speech."""
    max_items: Annotated[int, Meta(ge=10, le=10_000)] = 2000
    """Items of a conversation that are kept for the client; the oldest goes. All of them take 16 MiB at most."""
    answer_s: Annotated[int, Meta(ge=1, le=86_400)] = 600
    """Longest an answer may take in seconds, its speaking included; it ends `incomplete` then. That is six times what
    300 tokens take to be spoken, so it only meets what hangs; more for more `max_answer_tokens`."""
    session_tokens: Annotated[int, Meta(ge=0)] = 0
    """Tokens that the answers of one session may have altogether; 0: any number. Then answers fail with
    `session_tokens_reached`, and the session goes on: what is said is still transcribed. The answer that reaches it is
    not cut."""
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.0
    """0 always takes the likeliest token: small models err less."""
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Share of probability that sampling chooses from; without effect at temperature 0."""
    repetition_penalty: Annotated[float, Meta(ge=1, le=2)] = 1.1
    """Keeps small models from going round in circles; 1 is off."""
    draft_after_ms: Annotated[int, Meta(ge=0, le=2000)] = 64
    """Silence after which an answer is drafted while it is still being decided whether the turn is over; 0 drafts
    none and answers later with less CPU."""

    # ── What is seen ──────────────────────────────────────────────────────────────────────────────────

    budget: str | None = None
    """How long a turn may take, in total and in its segments: `p95<800ms, wait.p95<300ms`, or a file ending in
    `.toml`. Every turn is judged, and what is over budget is named in the log, in metrics and at `/trace`."""
    trace_file: Path | None = None
    """Write one JSON line a turn to this file: times and counts, no words."""
    trace_file_mb: Annotated[int, Meta(ge=1, le=100_000)] = 64
    """Megabytes after which the trace file is put aside as `NAME.1`, an older one as `NAME.2`, and a new one begun."""
    trace_files: Annotated[int, Meta(ge=1, le=1000)] = 5
    """Trace files that are kept, the one that is written among them; the oldest go."""
    trace_words: bool = False
    """Also put down what was said, by the user and by the agent: in the trace file and in OpenTelemetry spans, nowhere
    else."""
    otlp_endpoint: Annotated[str, Meta(pattern="^https?://")] | None = None
    """Where OpenTelemetry spans go (OTLP over HTTP), such as `http://localhost:4318`; needs the extra `otel`. Without
    it `OTEL_EXPORTER_OTLP_ENDPOINT` is used, if that is set."""
    otlp_headers: str | None = None
    """Headers that the spans are sent with, `name=value` with commas between them; they often hold a key, so set them
    in the environment. Without it `OTEL_EXPORTER_OTLP_HEADERS` is used."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much the log says."""
    log_format: Literal["text", "json"] = "text"
    """How the log says it: lines for people, or one JSON object a line."""
    record: Path | None = None
    """For debugging: a folder for recordings of sessions (sound and words), of those that have agreed to it
    (docs/privacy.md). Unset: nothing of them is kept."""
    record_consent: Literal["client", "operator"] = "client"
    """Who says that a session may be recorded: `client`, each for itself; or `operator`, who thereby states that
    everybody who talks here has been told. A client that says no is never recorded."""
    record_days: Annotated[int, Meta(ge=1, le=3650)] = 7
    """Days after which a recording is deleted."""
    record_mb: Annotated[int, Meta(ge=1, le=10_000_000)] = 1000
    """Megabytes of all recordings together, of which a minute of a session takes six; beyond that the oldest go."""


FIELDS = tuple(Config.__struct_fields__)
_UNSHOWN = frozenset({"secret", "auth_secret", "admin_key", "otlp_headers", "limits_store"})
"""Settings whose values are never repeated, in no message."""
_NOT_SETTINGS = frozenset({"CONFIG"})
"""Variables with the prefix that name something else: CONFIG is the file."""


def tame_libraries() -> None:
    """Set what libraries read from the environment when they are imported; what the user has set stays.

    onnxruntime on Linux otherwise keeps a device id and reports use to its maker: a node says nothing to anybody.
    numpy's own thread pool spins, and would take time from the engines.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def load_config(
    flags: Mapping[str, Any], file: Path | None = None, environment: Mapping[str, str] | None = None
) -> Config:
    """Put the settings together: OpenTelemetry's environment < file < environment < flags.

    Flags that are None were not given.

    Raises:
        ConfigError: a name is unknown or a value does not fit; says which and where it came from.
    """
    environment = os.environ if environment is None else environment
    file = file or (Path(environment[f"{PREFIX}CONFIG"]) if environment.get(f"{PREFIX}CONFIG") else None)
    layers = [
        ("in OpenTelemetry's environment", _from_opentelemetry(environment)),
        (f"in {file}", _from_file(file) if file else {}),
        ("in the environment", _from_environment(environment)),
        ("on the command line", {name: value for name, value in flags.items() if value is not None}),
    ]
    settings: dict[str, Any] = {}
    for where, layer in layers:
        for name, value in layer.items():
            if name not in FIELDS:
                raise ConfigError(f"Unknown setting '{name}' {where}; {_did_you_mean(name)}")
            settings[name] = _checked(name, value, where)
    return Config(**settings)


class Supervision(Struct, frozen=True):
    """What whoever started the process wants to hear of it (sd_notify(3))."""

    socket: str | None = None
    """Where; an abstract address begins with `@`. None: nobody wants to hear anything."""
    watchdog_s: float | None = None
    """How often it wants to hear that the process lives, seconds; None: it does not."""


def supervision(environment: Mapping[str, str] | None = None) -> Supervision:
    """What systemd, or what speaks like it, has put into the environment.

    Raises:
        ConfigError: `WATCHDOG_USEC` is no number.
    """
    environment = os.environ if environment is None else environment
    address = environment.get("NOTIFY_SOCKET") or None
    interval_us = environment.get("WATCHDOG_USEC") or "0"
    if not interval_us.isdecimal():
        raise ConfigError(f"WATCHDOG_USEC is set to {interval_us!r}, which is no number of microseconds.")
    is_meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())  # not a child's that inherits it
    is_watched = address is not None and is_meant and int(interval_us) > 0
    return Supervision(address, int(interval_us) / 1_000_000 if is_watched else None)


PUBLIC_NPM_REGISTRY = "https://registry.npmjs.org/"


def npm_registry(scope: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Address of the registry that the user's npm is set to, with a slash at its end.

    As npm does, the user's `.npmrc` may name one for a `scope` (`@name`), which wins; then comes
    `npm_config_registry` of the environment (in any case), then `registry` of the `.npmrc`.

    Raises:
        ConfigError: what is set is no http(s) address.
    """
    environment = os.environ if environment is None else environment
    variables = {name.lower(): value for name, value in environment.items() if value}
    npmrc = Path(variables.get("npm_config_userconfig", "~/.npmrc")).expanduser()
    in_file = _from_npmrc(npmrc)
    registry = (
        in_file.get(f"{scope}:registry")
        or variables.get("npm_config_registry")
        or in_file.get("registry")
        or PUBLIC_NPM_REGISTRY
    )
    if not registry.startswith(("http://", "https://")):
        raise ConfigError(f"npm's registry is set to {registry!r}, which is no http(s) address.")
    return registry.rstrip("/") + "/"


def _from_npmrc(path: Path) -> dict[str, str]:
    """Settings of an `.npmrc`: `name = value` a line. Without the file there are none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line and line.strip()[0] not in "#;")
    return {name.strip(): value.strip().strip("\"'") for name, value in pairs}


def _checked(name: str, value: Any, where: str) -> Any:
    """The value as the type that the setting has; text from the environment is read as what it stands for."""
    if isinstance(value, Path):
        value = str(value)
    try:
        return getattr(msgspec.convert({name: value}, Config, strict=not isinstance(value, str), dec_hook=_path), name)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # a variable may hold what is no text
        reason = str(error).split(" - at ")[0].replace("`", "'")
        given = "" if name in _UNSHOWN else f" (given: {value!r})"
        raise ConfigError(f"Setting '{name}' {where}: {reason}{given}.") from error


def _path(kind: type, value: Any) -> Any:
    """Paths, which msgspec does not know; `~` is the user's home."""
    if kind is not Path:
        raise NotImplementedError
    if not isinstance(value, str):
        raise TypeError("Expected 'str'")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:  # of a user who is not here
        raise ValueError(str(error)) from error


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration file {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # also a number of 5,000 digits, and 1,000 lists inside one another
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    named = {key.removeprefix(PREFIX): value for key, value in environment.items() if key.startswith(PREFIX)}
    # an empty variable is how compose files say that nothing was given
    return {name.lower(): value for name, value in named.items() if value and name not in _NOT_SETTINGS}


def _from_opentelemetry(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[key] for key, name in OPENTELEMETRY.items() if environment.get(key)}


def _did_you_mean(name: str) -> str:
    near = difflib.get_close_matches(name, FIELDS, n=1)
    return f"did you mean '{near[0]}'?" if near else f"there are {', '.join(FIELDS)}."
