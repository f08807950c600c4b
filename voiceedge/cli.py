"""The command line: its commands, and what becomes of errors. Nothing imports this file."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer
from rich.markup import escape
from typer.exceptions import Abort, TyperException

from voiceedge import __version__, terminal
from voiceedge.cli_bench import EXAMPLES, bench
from voiceedge.cli_doctor import doctor
from voiceedge.cli_models import models
from voiceedge.cli_regions import regions
from voiceedge.cli_serve import serve
from voiceedge.cli_token import token
from voiceedge.errors import OperatorError

app = typer.Typer(
    help="A real-time voice-agent server for the edge. Start with `voiceedge serve`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(models, name="models")
app.add_typer(token, name="token")

USAGE, INTERRUPTED = 2, 130
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


app.command()(serve)
app.command(epilog=EXAMPLES)(bench)
app.command()(regions)
app.command()(doctor)


if __name__ == "__main__":
    main()
