"""The command line's `regions`: which node is near, by the clock and by the globe."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from voiceedge import terminal
from voiceedge.cli_options import ConfigFile
from voiceedge.config import load_config
from voiceedge.errors import ConfigError
from voiceedge.regions.nodes import Candidate, candidate, read_nodes
from voiceedge.regions.places import Place, here, place_of
from voiceedge.regions.probing import TRIES, Probe, choose, look, measure_now
from voiceedge.regions.rendering import as_json, render

WATCH_S = 2.0
"""From the end of one look to the begin of the next."""
NOTHING = "No nodes are given: name a TOML file, addresses or a DNS name, or set regions_file."


def regions(
    nodes: Annotated[
        list[str] | None,
        typer.Argument(
            help="TOML file of nodes, addresses, or a DNS name with an A or AAAA record for each node (SRV records are "
            "not read). \\[default: the setting regions_file]",
            show_default=False,
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option("--from", help="Where you are: region code, airport, city or LAT,LON. \\[default: region]"),
    ] = None,
    tries: Annotated[int, typer.Option(min=1, max=1000, help="Round trips to each node; the median counts.")] = TRIES,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds, until Ctrl-C.")] = False,  # noqa: FBT002
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON; with --watch a line each time.")] = False,  # noqa: FBT002
    config: ConfigFile = None,
) -> None:
    """Measure the round trip to several nodes, hold it against what physics allows, and say which to use.

    Exit code 0: there is a node to use; 1: there is none.
    """
    settings = load_config({}, config)
    start = place_of(origin) if origin else here(settings.region, settings.latitude, settings.longitude)
    candidates = _candidates(nodes or [], settings.regions_file)
    probe = Probe(tries=tries)
    if watch:
        try:
            asyncio.run(_watch(candidates, start, probe, as_lines=as_json_))
        except KeyboardInterrupt:  # how watching ends
            return
    readings = measure_now(candidates, start, probe)
    if as_json_:
        typer.echo(json.dumps(as_json(readings, start, tries), indent=1))
    else:
        terminal.out.print(render(readings, start, tries), soft_wrap=False)
    if choose(readings) is None:
        raise typer.Exit(1)


def _candidates(arguments: Sequence[str], configured: Path | None) -> tuple[Candidate, ...]:
    """Nodes as they are named: a file by its ending or because it is there, else an address."""
    found: list[Candidate] = []
    for argument in arguments or ([str(configured)] if configured else []):
        path = Path(argument).expanduser()
        is_file = path.suffix == ".toml" or path.is_file()
        found += read_nodes(path) if is_file else [candidate(argument)]
    if not found:
        raise ConfigError(NOTHING)
    return tuple(found)


async def _watch(candidates: Sequence[Candidate], origin: Place | None, probe: Probe, *, as_lines: bool) -> None:
    with nullcontext() if as_lines else Live(console=Console(highlight=False), auto_refresh=False) as live:
        while True:
            readings = await look(candidates, origin, probe)
            if live is None:
                typer.echo(json.dumps(as_json(readings, origin, probe.tries)))
            else:
                live.update(render(readings, origin, probe.tries), refresh=True)
            await asyncio.sleep(WATCH_S)
