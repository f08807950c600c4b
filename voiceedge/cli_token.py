"""The command line's `token`: keys and tokens to try a node's authentication with, and what a token says."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from voiceedge import terminal
from voiceedge.errors import ConfigError
from voiceedge.trace import epoch_s

token = typer.Typer(
    help="Keys and tokens for development: make them, look into them. In production your identity provider makes them.",
    no_args_is_help=True,
)

LAST_MOMENT = 2**53
"""Of tokens that nodes take, seconds since 1970."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _name(stated: str | None) -> str | None:
    """A name as nodes take it.

    Raises:
        ConfigError: no node would.
    """
    import msgspec

    from voiceedge.server.grant import Name

    try:
        if stated is not None:
            stated.encode()  # bytes on the command line that are no UTF-8 are no name
            msgspec.convert(stated, Name)
    except (UnicodeEncodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{stated!r} is no name: it has 1 to 128 characters, in UTF-8.") from error
    return stated


Tenant = Annotated[str | None, typer.Option(help="Who pays. \\[default: the name]", show_default=False, callback=_name)]
Sessions = Annotated[
    int | None, typer.Option(min=1, help="Conversations at a time. \\[default: the node's]", show_default=False)
]
Seconds = Annotated[
    int | None, typer.Option(min=1, help="Longest conversation. \\[default: the node's]", show_default=False)
]
AnHour = Annotated[
    int | None, typer.Option(min=1, help="Of the tenant in an hour. \\[default: the node's]", show_default=False)
]


@token.command("key")
def token_key(
    name: Annotated[str, typer.Argument(help="Whose key it is.", callback=_name)],
    tenant: Tenant = None,
    sessions: Sessions = None,
    seconds: Seconds = None,
    sessions_an_hour: AnHour = None,
    audio_seconds_an_hour: AnHour = None,
    messages_an_hour: AnHour = None,
    bytes_an_hour: AnHour = None,
) -> None:
    """Make a static key, and the entry for the node's file of keys, which holds only its hash.

    Standard output is the entry (append it to the file that --api-keys names); the key itself is shown once, on the
    terminal. The node reads the file again by itself.
    """
    from voiceedge.server.api_keys import hashed, make_key

    key = make_key()
    entry = {
        "name": name,
        "sha256": hashed(key),
        "tenant": tenant,
        "sessions": sessions,
        "seconds": seconds,
        "sessions_an_hour": sessions_an_hour,
        "audio_seconds_an_hour": audio_seconds_an_hour,
        "messages_an_hour": messages_an_hour,
        "bytes_an_hour": bytes_an_hour,
    }
    typer.echo("[[key]]")
    for field, value in entry.items():
        if value is not None:
            # a JSON string is a TOML one, but for surrogate pairs and for DEL
            typer.echo(f"{field} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f"))
    terminal.err.print(f"The key, shown only now: [bold]{key}[/]")


@token.command("issuer")
def token_issuer(
    folder: Annotated[Path, typer.Argument(help="Where to write both files.")] = Path(),
) -> None:
    """Make an issuer to try with: a private Ed25519 key, and the key set that the node checks tokens with."""
    from voiceedge.server.issuing import Issuer

    private, public = Issuer.make().save(folder)
    terminal.out.print(f"[green]✓[/] {escape(str(private))}  signs; keep it to yourself")
    terminal.out.print(f"[green]✓[/] {escape(str(public))}  checks")
    both = ["--issuer", "development", "--audience", "voiceedge"]
    serve = ["serve", "--auth-keys", str(public), *(flag.replace("--", "--auth-") for flag in both)]
    make = ["token", "make", "alice", "--key", str(private), *both]
    for command in (serve, make):
        terminal.out.print(escape(shlex.join(["voiceedge", *command])))


@token.command("make")
def token_make(
    subject: Annotated[str, typer.Argument(help="Who it is for.", callback=_name)],
    issuer: Annotated[str, typer.Option(help="`iss`: as the node's --auth-issuer.")],
    audience: Annotated[str, typer.Option(help="`aud`: as the node's --auth-audience.")],
    key: Annotated[Path, typer.Option(help="Private key, from `voiceedge token issuer`.")] = Path("issuer.pem"),
    lasts: Annotated[str, typer.Option(help="How long it is good: 90s, 10m, 2h, 7d.")] = "10m",
    tenant: Tenant = None,
    sessions: Sessions = None,
    seconds: Seconds = None,
    sessions_an_hour: AnHour = None,
    audio_seconds_an_hour: AnHour = None,
    messages_an_hour: AnHour = None,
    bytes_an_hour: AnHour = None,
    instructions: Annotated[str | None, typer.Option(help="System prompt that its sessions begin with.")] = None,
) -> None:
    """Sign a token, printed alone: TOKEN=$(voiceedge token make alice --issuer … --audience …)."""
    from voiceedge.server.issuing import Issuer

    signing = Issuer.load(key)
    now = epoch_s()
    allowed: dict[str, Any] = {
        "tenant": tenant,
        "sessions": sessions,
        "seconds": seconds,
        "sessions_an_hour": sessions_an_hour,
        "audio_seconds_an_hour": audio_seconds_an_hour,
        "messages_an_hour": messages_an_hour,
        "bytes_an_hour": bytes_an_hour,
    }
    if instructions is not None:
        allowed["session"] = {"instructions": instructions}
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "jti": secrets.token_hex(8),
        "iat": now,
        "nbf": now,
        "exp": now + duration_s(lasts),
        "voiceedge": {name: value for name, value in allowed.items() if value is not None},
    }
    typer.echo(signing.sign(claims))


@token.command("explain")
def token_explain(
    token: Annotated[str, typer.Argument(help="The token; - reads it from standard input.")],
) -> None:
    """Say what a token says. Nothing is checked: only the node can tell whether it is good."""
    from voiceedge.server.issuing import REQUIRED, unchecked
    from voiceedge.server.logs import printable

    text = sys.stdin.read() if token == "-" else token  # noqa: S105 - no password
    header, claims = unchecked(text.strip().removeprefix("Bearer "))
    now = epoch_s()
    signed_by = f"key {header.get('kid', '(no id)')}, {header.get('alg')}"
    terminal.out.print(f"signed by   {escape(printable(signed_by))}")
    for name, value in claims.items():
        shown = json.dumps(value) if not isinstance(value, str) else value
        terminal.out.print(f"{escape(printable(name)):<11} {escape(printable(shown))}{_when(name, value, now)}")
    if missing := [name for name in REQUIRED if name not in claims]:
        terminal.out.print(f"[red]missing[/]     {', '.join(missing)}: no node takes it")


def duration_s(stated: str) -> int:
    """Read 90s, 10m, 2h or 7d.

    Raises:
        ConfigError: it is something else.
    """
    number, unit = stated[:-1], stated[-1:]
    if unit not in _UNITS or not number.isdecimal() or int(number) == 0:
        raise ConfigError(f"{stated!r} is no duration: write it like 90s, 10m, 2h or 7d.")
    return int(number) * _UNITS[unit]


def _when(name: str, value: object, now: int) -> str:
    """Beside a moment, how far it is from now."""
    if name not in {"exp", "nbf", "iat"} or not isinstance(value, int | float):
        return ""
    if not 0 <= value <= LAST_MOMENT:  # nor is NaN
        return "  [red]no moment[/]"
    seconds = round(value - now)
    text, is_past = _spelt(abs(seconds)), seconds <= 0
    past, future = {
        "exp": (f"[red]expired {text} ago[/]", f"good for {text} more"),
        "nbf": (f"good since {text}", f"[red]not good before {text} from now[/]"),
        "iat": (f"made {text} ago", f"[red]made {text} from now[/]"),
    }[name]
    return f"  {past if is_past else future}"


def _spelt(seconds: int) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
