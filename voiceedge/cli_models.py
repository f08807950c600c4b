"""The command line's `models`: what is on this machine, what comes to it, what leaves it."""
# ruff: noqa: FBT002  typer's way of declaring options

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from voiceedge import terminal
from voiceedge.cli_options import ConfigFile, Home, Offline
from voiceedge.config import load_config
from voiceedge.errors import ConfigError
from voiceedge.modelstore.store import ModelStore

models = typer.Typer(help="The models on this machine: list, pull, verify, add, remove.", no_args_is_help=True)


@models.command("list")
def models_list(config: ConfigFile = None, home: Home = None) -> None:
    """Show every model that VoiceEdge knows, and whether it is on this machine."""
    terminal.out.print(terminal.models_table(_store(config, home)))


@models.command("pull")
def models_pull(
    names: Annotated[list[str] | None, typer.Argument(help="Models or profiles. \\[default: profile standard]")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Hash every file and replace what differs.")] = False,
    config: ConfigFile = None,
    home: Home = None,
    offline: Offline = None,
) -> None:
    """Bring models to this machine, checked by sha256, and build what has to be built."""
    settings = load_config({"home": home, "offline": offline}, config)
    store = ModelStore(settings.home)
    for model_id in _model_ids(store, names or [settings.profile]):
        with terminal.pull_progress() as progress:
            local = store.pull(model_id, progress, offline=settings.offline, repair=repair)
        terminal.out.print(f"[green]✓[/] {model_id}  {escape(str(local.folder))}")


@models.command("verify")
def models_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Models or profiles. \\[default: what is here]")] = None,
    config: ConfigFile = None,
    home: Home = None,
) -> None:
    """Hash every file of the models on this machine; exit code 2 if one is not what its manifest says."""
    store = _store(config, home)
    chosen = _model_ids(store, names) if names else [m for m in store.catalogue.models if store.state(m) == "present"]
    problems = []
    for model_id in chosen:
        with terminal.pull_progress() as progress:
            found = store.verify(model_id, progress)
        terminal.out.print(f"[red]✗[/] {model_id}" if found else f"[green]✓[/] {model_id}")
        problems += found
    for problem in problems:
        terminal.err.print(escape(str(problem)))
    if problems:
        raise typer.Exit(2)


@models.command("add")
def models_add(
    path: Annotated[Path, typer.Argument(help="GGUF file, CTranslate2 Whisper folder, or Kokoro voice (.bin).")],
    model_id: Annotated[str | None, typer.Option("--id", help="What to call it. \\[default: the file's name]")] = None,
    licence: Annotated[
        str | None, typer.Option(help="Its licence (SPDX). \\[default: asked for where there is a terminal]")
    ] = None,
    link: Annotated[bool, typer.Option("--link/--copy", help="Leave the files where they are.")] = False,
    config: ConfigFile = None,
    home: Home = None,
) -> None:
    """Add a model of your own: looked at, copied, built, checked and tried. What fails leaves nothing behind."""
    from voiceedge.engines.trial import try_model  # noqa: PLC0415 - `--help` must not wait for the engines
    from voiceedge.modelstore.adding import add, check_id  # noqa: PLC0415
    from voiceedge.modelstore.recognise import recognise  # noqa: PLC0415

    store = _store(config, home)
    candidate = recognise(path)
    chosen = model_id or candidate.suggested_id
    check_id(store, candidate, chosen)
    if licence is None:
        terminal.out.print(f"{escape(str(path))}: {candidate.what}, to be called {chosen}")
        licence = _ask_licence(candidate.licence)
    with terminal.pull_progress() as progress:
        added = add(store, candidate, chosen, licence, lambda m: try_model(candidate.stage, m), progress, link=link)
    terminal.out.print(f"[green]✓[/] {chosen} ({candidate.what}): {escape(added.outcome)}")
    terminal.out.print(f"  use it: voiceedge serve --{candidate.stage}-model {chosen}")
    if candidate.voice_of is not None:
        terminal.out.print(f'  or with --profile voices, where a client asks for the voice "{chosen}"')


@models.command("remove")
def models_remove(
    model_id: Annotated[str, typer.Argument(metavar="ID", help="The model.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigFile = None,
    home: Home = None,
) -> None:
    """Remove a model's files from this machine; one of your own is forgotten, too."""
    store = _store(config, home)
    manifest = store.catalogue.model(model_id)
    what = f"{model_id} ({manifest.bytes / 1e6:.0f} MB at {store.folder(model_id)})"
    if not yes:
        _require_terminal("--yes")
        typer.confirm(f"Remove {what}?", abort=True)
    was_own = store.is_own(model_id)
    store.remove(model_id)
    terminal.out.print(
        f"[green]✓[/] {model_id} is gone" if was_own else f"[green]✓[/] the files of {model_id} are gone"
    )


def _store(config: Path | None, home: Path | None) -> ModelStore:
    return ModelStore(load_config({"home": home}, config).home)


def _ask_licence(suggested: str | None) -> str:
    _require_terminal("--licence")
    answer: str = typer.prompt("Its licence (SPDX, e.g. Apache-2.0; LicenseRef-NAME for others)", default=suggested)
    return answer.strip()


def _require_terminal(option: str) -> None:
    """Questions need somebody who answers.

    Raises:
        ConfigError: there is no terminal; names the option that answers instead.
    """
    if not sys.stdin.isatty():
        raise ConfigError(f"There is no terminal to ask in; give {option}.")


def _model_ids(store: ModelStore, names: list[str]) -> list[str]:
    """Models by name; a profile stands for all of its models."""
    ids: dict[str, None] = {}
    for name in names:
        if name in store.catalogue.profiles:
            ids.update(dict.fromkeys(m.id for m in store.catalogue.stages(name).values()))
        else:
            ids[store.catalogue.model(name).id] = None
    return list(ids)
