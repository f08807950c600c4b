"""The command line's `serve`: reads the settings, loads the engines, wires the node and runs it until a signal."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from voiceedge import __version__, terminal
from voiceedge.cli_options import ConfigFile, Home, Offline, setting
from voiceedge.config import Config, load_config, supervision
from voiceedge.machine import Machine, machine
from voiceedge.modelstore.manifest import Stage
from voiceedge.modelstore.store import LocalModel, ModelStore
from voiceedge.trace import now

if TYPE_CHECKING:  # `--help` must not wait for the engines to be imported
    from starlette.applications import Starlette

    from voiceedge.engines import Engines
    from voiceedge.engines.loading import ThreadPlan
    from voiceedge.engines.renewal import LoadStage
    from voiceedge.server.about import ModelFacts
    from voiceedge.server.admission import Admission
    from voiceedge.server.auth import Door
    from voiceedge.server.recording import Recorder
    from voiceedge.server.seeing import Seeing
    from voiceedge.server.socket import Sockets
    from voiceedge.session.node import Node

TERMINATED = 143
"""Exit code of a process that was asked to stop before it served."""
MODELS, NETWORK, DOOR = "Models", "Network", "Who may talk"
ANSWERS, SEEING = "Answers", "What is seen"


def serve(
    profile: Annotated[str | None, setting("profile", "Which models: nano, standard or voices.", MODELS)] = None,
    stt_model: Annotated[
        str | None, setting("stt_model", "Speech-to-text model instead of the profile's.", MODELS)
    ] = None,
    llm_model: Annotated[str | None, setting("llm_model", "Language model instead of the profile's.", MODELS)] = None,
    tts_model: Annotated[
        str | None, setting("tts_model", "Voice model, or an added voice, instead of the profile's.", MODELS)
    ] = None,
    context_tokens: Annotated[int | None, setting("context_tokens", "Tokens that the LLM sees.", MODELS)] = None,
    engines: Annotated[str | None, setting("engines", "real, fake, or fake:llm+200: 200 ms late.", MODELS)] = None,
    step_timeout_s: Annotated[
        float | None, setting("step_timeout_s", "Seconds after which an engine counts as hung.", MODELS)
    ] = None,
    plain: Annotated[bool | None, setting("plain", "The pipeline as commonly built, to compare with.", MODELS)] = None,
    host: Annotated[str | None, setting("host", "Address to listen on.", NETWORK)] = None,
    port: Annotated[int | None, setting("port", "TCP port.", NETWORK)] = None,
    tls_certificate: Annotated[
        Path | None, setting("tls_certificate", "Certificate chain in PEM: https, wss.", NETWORK)
    ] = None,
    tls_key: Annotated[Path | None, setting("tls_key", "Its private key, not encrypted.", NETWORK)] = None,
    drain_s: Annotated[
        float | None, setting("drain_s", "Seconds that answers may finish in after SIGTERM.", NETWORK)
    ] = None,
    region: Annotated[
        str | None, setting("region", "Where this machine stands: region code, airport or city.", NETWORK)
    ] = None,
    latitude: Annotated[float | None, setting("latitude", "Where exactly, in degrees north.", NETWORK)] = None,
    longitude: Annotated[float | None, setting("longitude", "The same in degrees east.", NETWORK)] = None,
    regions_file: Annotated[
        Path | None, setting("regions_file", "TOML file of nodes, for `voiceedge regions` and `doctor`.", NETWORK)
    ] = None,
    max_sessions: Annotated[int | None, setting("max_sessions", "Conversations at a time.", DOOR)] = None,
    session_s: Annotated[int | None, setting("session_s", "Longest session in seconds.", DOOR)] = None,
    idle_s: Annotated[int | None, setting("idle_s", "Seconds without anybody; 0: for ever.", DOOR)] = None,
    busy_load: Annotated[
        float | None, setting("busy_load", "Load from which the node takes no more conversations.", DOOR)
    ] = None,
    sessions_per_address: Annotated[
        int | None, setting("sessions_per_address", "Conversations of one address; 0: no limit.", DOOR)
    ] = None,
    proxies: Annotated[
        str | None, setting("proxies", "Proxies that may say whom they ask for (X-Forwarded-For).", NETWORK)
    ] = None,
    sessions_an_hour: Annotated[
        int | None, setting("sessions_an_hour", "Conversations of a tenant in an hour; 0: no limit.", DOOR)
    ] = None,
    audio_seconds_an_hour: Annotated[
        int | None, setting("audio_seconds_an_hour", "Seconds of audio of a tenant in an hour; 0: no limit.", DOOR)
    ] = None,
    messages_an_hour: Annotated[
        int | None, setting("messages_an_hour", "Messages of a tenant in an hour; 0: no limit.", DOOR)
    ] = None,
    bytes_an_hour: Annotated[
        int | None, setting("bytes_an_hour", "Bytes of a tenant in an hour; 0: no limit.", DOOR)
    ] = None,
    limits_store: Annotated[
        str | None, setting("limits_store", "Redis where nodes count these hours together, redis://host:6379/0.", DOOR)
    ] = None,
    audio_speed: Annotated[
        float | None, setting("audio_speed", "Seconds of audio a second that a session may send.", DOOR)
    ] = None,
    audio_ahead_s: Annotated[
        float | None, setting("audio_ahead_s", "Seconds of audio that it may send at once.", DOOR)
    ] = None,
    message_rate: Annotated[
        float | None, setting("message_rate", "Messages a second that a session may send.", DOOR)
    ] = None,
    byte_rate: Annotated[float | None, setting("byte_rate", "Bytes a second that a session may send.", DOOR)] = None,
    api_keys: Annotated[Path | None, setting("api_keys", "File of static keys (hashes).", DOOR)] = None,
    auth_keys: Annotated[
        str | None, setting("auth_keys", "Key set (URL or file) that tokens are checked with.", DOOR)
    ] = None,
    auth_issuer: Annotated[str | None, setting("auth_issuer", "`iss` of tokens.", DOOR)] = None,
    auth_audience: Annotated[str | None, setting("auth_audience", "`aud` of tokens.", DOOR)] = None,
    auth_algorithms: Annotated[str | None, setting("auth_algorithms", "What may have signed them.", DOOR)] = None,
    revoked: Annotated[Path | None, setting("revoked", "File of tokens that are not good any more.", DOOR)] = None,
    origins: Annotated[str | None, setting("origins", "Where pages that connect may come from.", DOOR)] = None,
    open_to_all: Annotated[
        bool | None, setting("open_to_all", "Listen beyond loopback without asking for keys.", DOOR)
    ] = None,
    secret: Annotated[str | None, setting("secret", "Signs client secrets; better in the environment.", DOOR)] = None,
    admin_key: Annotated[
        str | None, setting("admin_key", "Opens /metrics and /trace from elsewhere; better in the environment.", DOOR)
    ] = None,
    instructions: Annotated[
        str | None, setting("instructions", "System prompt for clients that bring none.", ANSWERS)
    ] = None,
    language: Annotated[str | None, setting("language", "Language that is heard.", ANSWERS)] = None,
    max_answer_tokens: Annotated[int | None, setting("max_answer_tokens", "Longest answer.", ANSWERS)] = None,
    max_items: Annotated[int | None, setting("max_items", "Items kept of a conversation.", ANSWERS)] = None,
    answer_s: Annotated[
        int | None, setting("answer_s", "Longest answer in seconds, speaking included.", ANSWERS)
    ] = None,
    session_tokens: Annotated[
        int | None, setting("session_tokens", "Tokens of all answers of a session; 0: any number.", ANSWERS)
    ] = None,
    temperature: Annotated[float | None, setting("temperature", "0 takes the likeliest token.", ANSWERS)] = None,
    top_p: Annotated[float | None, setting("top_p", "Probability that sampling chooses from.", ANSWERS)] = None,
    repetition_penalty: Annotated[float | None, setting("repetition_penalty", "1 is off.", ANSWERS)] = None,
    draft_after_ms: Annotated[int | None, setting("draft_after_ms", "0 drafts nothing.", ANSWERS)] = None,
    budget: Annotated[
        str | None, setting("budget", 'How long turns may take: "p95<800ms, wait.p95<300ms", or a .toml file.', SEEING)
    ] = None,
    trace_file: Annotated[Path | None, setting("trace_file", "One JSON line a turn, no words.", SEEING)] = None,
    trace_file_mb: Annotated[
        int | None, setting("trace_file_mb", "Megabytes after which a new one is begun.", SEEING)
    ] = None,
    trace_files: Annotated[int | None, setting("trace_files", "How many of them are kept.", SEEING)] = None,
    trace_words: Annotated[
        bool | None, setting("trace_words", "Put down what was said, in the trace file and in spans.", SEEING)
    ] = None,
    otlp_endpoint: Annotated[
        str | None, setting("otlp_endpoint", "Where OpenTelemetry spans go, such as http://localhost:4318.", SEEING)
    ] = None,
    log_level: Annotated[str | None, setting("log_level", "debug, info, warning or error.", SEEING)] = None,
    log_format: Annotated[str | None, setting("log_format", "text, or json: one object a line.", SEEING)] = None,
    record: Annotated[
        Path | None, setting("record", "Folder for recordings of sessions that agree, to debug.", SEEING)
    ] = None,
    record_consent: Annotated[
        str | None, setting("record_consent", "Who agrees: client; operator, if everybody has been told.", SEEING)
    ] = None,
    record_days: Annotated[int | None, setting("record_days", "Days that recordings are kept.", SEEING)] = None,
    record_mb: Annotated[int | None, setting("record_mb", "Megabytes of all recordings.", SEEING)] = None,
    config: ConfigFile = None,
    home: Home = None,
    offline: Offline = None,
) -> None:
    """Serve conversations at ws://HOST:PORT/v1/realtime, and a page to try at http://HOST:PORT/ (with TLS wss, https).

    Models that the profile lacks are pulled first. Every option can also be set as VOICEEDGE_NAME in the
    environment or as name in the --config file; options win over the environment, that over the file.
    """
    flags = {name: value for name, value in locals().items() if name != "config"}
    _serve(load_config(flags, config))


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What a node thinks with."""

    engines: Engines
    threads: ThreadPlan
    models: tuple[ModelFacts, ...]
    sizes: dict[str, int]
    """Bytes of the files that each stage is loaded from; none for what has no files."""
    load_stage: LoadStage
    """Loads a stage once more."""


def _serve(config: Config) -> None:
    from voiceedge.regions.places import here
    from voiceedge.server import giving_up, logs
    from voiceedge.server.admission import make_admission
    from voiceedge.server.build import Build
    from voiceedge.server.descriptors import most_descriptors
    from voiceedge.server.doors import check_reach, make_door
    from voiceedge.server.judging import read_budget
    from voiceedge.server.knocking import Knocking
    from voiceedge.server.memory import settle
    from voiceedge.server.seeing import seeing, watched
    from voiceedge.server.serving import Server, bind
    from voiceedge.server.supervisor import Supervisor
    from voiceedge.server.tls import tls_context
    from voiceedge.session.node import make_node
    from voiceedge.session.warming import warm_up

    begun = now()
    # until the server takes it over; process 1 of a container would otherwise ignore it and go on loading
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    logs.configure(config.log_level, config.log_format)
    tls, supervisor = tls_context(config), Supervisor(supervision())
    door, admission = make_door(config), make_admission(config)
    check_reach(config.host, door, is_meant=config.open_to_all)
    read_budget(config.budget)  # mistakes show before the models are loaded
    recording = _recorder(config)
    here(config.region, config.latitude, config.longitude)
    bound, descriptors = bind(config.host, config.port), most_descriptors()
    found = machine()
    loaded = _load(config, found)
    speeds = warm_up(loaded.engines, config.instructions)
    names = {str(stage): name for stage, name in loaded.engines.names.items()}
    with seeing(config, Build(__version__, config.profile, names, loaded.sizes)) as seen, recording as recorder:
        node = make_node(
            config,
            loaded.engines,
            loaded.threads.workers,
            seen.report,
            seen.metrics.step,
            load=loaded.load_stage,
            on_doomed=lambda why: giving_up.finish(server.finish, why),  # no step runs before there is a server
        )
        loaded = replace(loaded, engines=node.engines)  # those that were loaded must be able to go
        app, sockets = _wire(config, found, loaded, node, door, admission, seen, recorder)
        knocking = Knocking(door.proxies, descriptors, partial(admission.refused, "idle"))
        server = Server(app, sockets, admission, tls, drain_s=config.drain_s, supervisor=supervisor, knocking=knocking)
        port = bound.getsockname()[1]
        terminal.announce(node, config, speeds, port, now() - begun, seen.live.budget, is_open=door.is_open)

        def measured(at: float, late_s: float) -> None:
            admission.measured(at, node.compute.load, late_s)

        settle()
        _run(watched(_served(server.serve(sockets=[bound]), admission), seen.metrics, measured), config.step_timeout_s)
        node.compute.close()
    terminal.say_goodbye(config)
    giving_up.leave(node.compute)


def _wire(
    config: Config,
    found: Machine,
    loaded: _Loaded,
    node: Node,
    door: Door,
    admission: Admission,
    seen: Seeing,
    recorder: Recorder | None,
) -> tuple[Starlette, Sockets]:
    """Put together what answers those who connect, and those who look on."""
    from voiceedge.server.about import About
    from voiceedge.server.admin import Admin
    from voiceedge.server.app import Shown, build_app
    from voiceedge.server.feed import Feed
    from voiceedge.server.socket import Sockets
    from voiceedge.server.throttle import Throttling

    seen.metrics.watch(admission, node.compute)
    sockets = Sockets(node, admission, door, seen.spans, Throttling(config, seen.metrics.throttled), recorder)
    feed = Feed(
        seen.live,
        lambda: sockets.sessions,
        admission,
        node,
        cores=found.whole_cores,
        drain_s=config.drain_s,
    )
    about = About(config, admission, loaded.models, found.facts(), loaded.threads)
    shown = Shown(Admin(config.admin_key, door.proxies), feed.endpoint, seen.metrics.endpoint, about.endpoint)
    return build_app(node, sockets, admission, door, shown), sockets


def _run(serving: Coroutine[Any, Any, None], timeout_s: float) -> None:
    """Run an event loop until it has served; one that hangs for so long ends the process."""
    from voiceedge.server import giving_up
    from voiceedge.session.watchdog import beating

    with asyncio.Runner(loop_factory=_loop_factory()) as runner, beating(runner.get_loop(), timeout_s, giving_up.die):
        runner.run(serving)


def _recorder(config: Config) -> AbstractContextManager[Recorder | None]:
    """What records sessions; None where nothing is to be recorded, and then nothing of it is imported.

    Raises:
        ConfigError: recordings cannot be written where they are to be.
    """
    if config.record is None:
        return nullcontext()
    from voiceedge.server.recording import Recorder
    from voiceedge.server.recording_shelf import Shelf

    shelf = Shelf(config.record, days=config.record_days, megabytes=config.record_mb)
    shelf.prepare()
    return Recorder(shelf)


async def _served(serving: Coroutine[Any, Any, None], admission: Admission) -> None:
    """Serve, then close what counts the quotas, in the same loop."""
    try:
        await serving
    finally:
        await admission.close()


def _loop_factory() -> Any:
    """Uvloop where it exists."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _load(config: Config, found: Machine) -> _Loaded:
    """Load what the node thinks with, its threads planned for the machine."""
    from voiceedge.engines.loading import load_engines, load_stage, plain_thread_plan, thread_plan
    from voiceedge.engines.renewal import parts_of
    from voiceedge.server.about import FAKE_MODELS, ModelFacts
    from voiceedge.session.node import SPARE_SLOTS

    threads = (plain_thread_plan if config.plain else thread_plan)(found.whole_cores)
    slots = config.max_sessions + SPARE_SLOTS
    if config.engines != "real":
        from voiceedge.engines.fake import fake_engines
        from voiceedge.engines.fake_defects import planted

        fakes = partial(fake_engines, planted(config.engines), slots=slots, context_tokens=config.context_tokens)
        return _Loaded(fakes(), threads, FAKE_MODELS, {}, lambda stage: parts_of(fakes(), stage))
    store = ModelStore(config.home)
    chosen: dict[Stage, str | None] = {"stt": config.stt_model, "llm": config.llm_model, "tts": config.tts_model}
    instead = {stage: model for stage, model in chosen.items() if model is not None}
    with terminal.pull_progress() as progress:
        local = store.resolve(config.profile, progress, offline=config.offline, instead=instead)
    options: dict[str, Any] = {
        "slots": slots,
        "context_tokens": config.context_tokens,
        "threads": threads,
        "language": config.language,
        "plain": config.plain,
    }
    engines = load_engines(local, **options)
    facts = tuple(
        ModelFacts(
            model.stage,
            model.id,
            model.manifest.weights.sha256,
            model.manifest.quantisation or "unknown",
            model.manifest.weights.bytes,
        )
        for model in local.values()
    )
    sizes = {str(stage): _bytes_loaded(model) for stage, model in local.items()}
    return _Loaded(engines, threads, facts, sizes, lambda stage: load_stage(stage, local, **options))


def _bytes_loaded(model: LocalModel) -> int:
    files = model.files.values() if model.build is None else model.build.iterdir()
    return sum(file.stat().st_size for file in files)
