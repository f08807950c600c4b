"""The command line: reads the settings, wires the objects, runs them. Nothing imports this file."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.markup import escape
from typer.exceptions import Abort, TyperException

from voiceedge import __version__, terminal
from voiceedge.cli_models import models
from voiceedge.cli_options import ConfigFile, Home, Offline, setting
from voiceedge.config import Config, load_config
from voiceedge.engines import Engines, Stage
from voiceedge.errors import OperatorError
from voiceedge.modelstore.store import ModelStore
from voiceedge.session.node import SPARE_SLOTS, make_node
from voiceedge.session.warming import warm_up
from voiceedge.trace import now

app = typer.Typer(
    help="A real-time voice-agent server for the edge. Start with `voiceedge serve`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(models, name="models")

USAGE, INTERRUPTED, TERMINATED = 2, 130, 143
"""Exit codes: as every shell tool has them."""


def main() -> None:
    """Run the command line; mistakes of the operator are one line and exit code 2, never a traceback."""
    try:
        sys.exit(app(standalone_mode=False))
    except OperatorError as error:
        _complain(str(error), error.exit_code)
    except TyperException as error:  # a flag or a value that the parser does not take
        _complain(f"{error.format_message()} See --help.".lstrip(), USAGE)
    except (Abort, KeyboardInterrupt):
        _complain("stopped", INTERRUPTED)


def _complain(message: str, code: int) -> NoReturn:
    terminal.err.print(f"[red]voiceedge:[/] {escape(message)}")
    sys.exit(code)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"voiceedge {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")] = False,
) -> None:
    """Take what stands before the command."""


@app.command()
def serve(
    profile: Annotated[str | None, setting("profile", "Which models: nano, standard or voices.")] = None,
    stt_model: Annotated[str | None, setting("stt_model", "Speech-to-text model instead of the profile's.")] = None,
    llm_model: Annotated[str | None, setting("llm_model", "Language model instead of the profile's.")] = None,
    tts_model: Annotated[
        str | None, setting("tts_model", "Voice model, or an added voice, instead of the profile's.")
    ] = None,
    host: Annotated[str | None, setting("host", "Address to listen on.")] = None,
    port: Annotated[int | None, setting("port", "TCP port.")] = None,
    tls_certificate: Annotated[Path | None, setting("tls_certificate", "Certificate chain in PEM: https, wss.")] = None,
    tls_key: Annotated[Path | None, setting("tls_key", "Its private key, not encrypted.")] = None,
    secret: Annotated[str | None, setting("secret", "Signs client secrets; better in the environment.")] = None,
    config: ConfigFile = None,
    engines: Annotated[str | None, setting("engines", "real, or fake: answers without models.")] = None,
    max_sessions: Annotated[int | None, setting("max_sessions", "Conversations at a time.")] = None,
    instructions: Annotated[str | None, setting("instructions", "System prompt for clients that bring none.")] = None,
    language: Annotated[str | None, setting("language", "Language that is heard.")] = None,
    context_tokens: Annotated[int | None, setting("context_tokens", "Tokens that the LLM sees.")] = None,
    max_answer_tokens: Annotated[int | None, setting("max_answer_tokens", "Longest answer.")] = None,
    temperature: Annotated[float | None, setting("temperature", "0 takes the likeliest token.")] = None,
    top_p: Annotated[float | None, setting("top_p", "Probability that sampling chooses from.")] = None,
    repetition_penalty: Annotated[float | None, setting("repetition_penalty", "1 is off.")] = None,
    draft_after_ms: Annotated[int | None, setting("draft_after_ms", "0 drafts nothing.")] = None,
    plain: Annotated[bool | None, setting("plain", "The pipeline as commonly built, to compare with.")] = None,
    trace_file: Annotated[Path | None, setting("trace_file", "One JSON line a turn, no words.")] = None,
    log_level: Annotated[str | None, setting("log_level", "debug, info, warning or error.")] = None,
    home: Home = None,
    offline: Offline = None,
) -> None:
    """Serve conversations at ws://HOST:PORT/v1/realtime, and a page to try at http://HOST:PORT/ (with TLS wss, https).

    Models that the profile lacks are pulled first. Every option can also be set as VOICEEDGE_NAME in the
    environment or as name in the --config file; options win over the environment, that over the file.
    """
    flags = {name: value for name, value in locals().items() if name != "config"}
    _serve(load_config(flags, config))


def _serve(config: Config) -> None:
    from voiceedge.server.admission import Admission
    from voiceedge.server.app import build_app
    from voiceedge.server.client_secrets import ClientSecrets
    from voiceedge.server.serving import Server, bind
    from voiceedge.server.socket import Sockets
    from voiceedge.server.tls import tls_context
    from voiceedge.server.turn_log import TurnLog

    begun = now()
    # until the server takes it over; process 1 of a container would otherwise ignore it and go on loading
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    logging.basicConfig(level=config.log_level.upper(), format="%(asctime)s %(levelname)-7s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # its lines hold whole URLs
    tls = tls_context(config)
    bound = bind(config.host, config.port)
    engines, workers = _engines(config)
    speeds = warm_up(engines, config.instructions)
    with TurnLog(config.trace_file) as turn_log:
        node = make_node(config, engines, workers, turn_log.report)
        admission = Admission(config.max_sessions)
        client_secrets = ClientSecrets(config.secret)
        sockets = Sockets(node, admission, client_secrets)
        server = Server(build_app(node, sockets, admission, client_secrets), sockets, admission, tls)
        terminal.announce(node, config, speeds, bound.getsockname()[1], now() - begun)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(server.serve(sockets=[bound]))
        node.compute.close()
    terminal.out.print("VoiceEdge has stopped.")


def _loop_factory() -> Any:
    """Uvloop where it exists."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _engines(config: Config) -> tuple[Engines, int]:
    """Load what the node thinks with; also how many threads may run it at a time."""
    from voiceedge.bench.environment import cores
    from voiceedge.engines.loading import load_engines, plain_thread_plan, thread_plan

    plan = (plain_thread_plan if config.plain else thread_plan)(cores())
    if config.engines == "fake":
        from voiceedge.engines.fake import fake_engines

        fakes = fake_engines(slots=config.max_sessions + SPARE_SLOTS, context_tokens=config.context_tokens)
        return fakes, plan.workers
    store = ModelStore(config.home)
    chosen: dict[Stage, str | None] = {"stt": config.stt_model, "llm": config.llm_model, "tts": config.tts_model}
    instead = {stage: model for stage, model in chosen.items() if model is not None}
    with terminal.pull_progress() as progress:
        local = store.resolve(config.profile, progress, offline=config.offline, instead=instead)
    engines = load_engines(
        local,
        slots=config.max_sessions + SPARE_SLOTS,
        context_tokens=config.context_tokens,
        threads=plan,
        language=config.language,
        plain=config.plain,
    )
    return engines, plan.workers


@app.command()
def bench(
    url: Annotated[str, typer.Argument(help="ws://host:port, http://host:port or host:port.")] = "localhost:8080",
    audio: Annotated[
        list[Path] | None, typer.Option(help="Recording, folder of them, or .tsv list to play. Repeatable.")
    ] = None,
    say: Annotated[list[str] | None, typer.Option(help="Text to speak with the default voice. Repeatable.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report to this file; - prints it.")
    ] = None,
    model: Annotated[str, typer.Option(help="Model name in the URL.")] = "voiceedge",
    api_key: Annotated[str | None, typer.Option(help="Key, if the node wants one.")] = None,
    instructions: Annotated[str | None, typer.Option(help="System prompt. \\[default: the node's own]")] = None,
    turn_detection: Annotated[
        str, typer.Option(help="semantic_vad[:EAGERNESS] or server_vad[:SILENCE_MS].")
    ] = "semantic_vad",
    listen: Annotated[
        Literal["full", "first-audible"],
        typer.Option(help="full hears answers out; first-audible stops them at their first sound."),
    ] = "full",
    fresh: Annotated[bool, typer.Option("--fresh/--one-session", help="A new session for each recording.")] = False,
    sessions: Annotated[int, typer.Option(help="Conversations at once, each in its own order.")] = 1,
    turns: Annotated[
        int | None, typer.Option(help="Recordings a conversation plays. \\[default: each once]", show_default=False)
    ] = None,
    runs: Annotated[int, typer.Option(help="How often everything is done.")] = 1,
    think: Annotated[str, typer.Option(help="Seconds between an answer and the next recording: 1, or 1..4.")] = "1",
    hesitate: Annotated[
        str | None, typer.Option(help="Put a pause of so many seconds (0.3..1.2) into the middle of each recording.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same orders and pauses.")] = 0,
) -> None:
    """Talk to a node as people would, in real time, and report how long it lets them wait.

    Counts from the last voiced sample that is sent to the first audible sample that comes back.
    """
    from voiceedge.bench.interval import interval
    from voiceedge.bench.options import BenchOptions
    from voiceedge.bench.probe import run_bench
    from voiceedge.bench.rendering import progress_line, render
    from voiceedge.bench.report import to_json

    tts = None
    if say:
        from voiceedge.engines.hibari import HibariTts

        tts = HibariTts()
    with terminal.err.status("connecting") as status:
        options = BenchOptions(
            url=url,
            audio=tuple(audio or ()),
            say=tuple(say or ()),
            tts=tts,
            model=model,
            api_key=api_key,
            instructions=instructions,
            turn_detection=turn_detection,
            listen=listen,
            fresh=fresh,
            sessions=sessions,
            turns=turns,
            runs=runs,
            think=interval(think),
            hesitate=None if hesitate is None else interval(hesitate),
            seed=seed,
            progress=lambda progress: status.update(escape(progress_line(progress))),
        )
        report = asyncio.run(run_bench(options))
    if str(json_file) == "-":
        typer.echo(json.dumps(to_json(report), indent=1))
        return
    terminal.out.print(render(report))
    if json_file is not None:
        json_file.write_text(json.dumps(to_json(report), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
