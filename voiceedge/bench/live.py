"""The run while it lasts, on a terminal: redrawn in place; a line now and then where nobody looks on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Self, get_args

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from voiceedge.bench.figures import Distribution
from voiceedge.bench.progress import Doing, Progress
from voiceedge.bench.ramp_steps import RampStep
from voiceedge.trace import Clock, now

REDRAWS_A_SECOND = 2.0
"""More would be work for the thread that measures."""
PLAIN_EVERY_S = 10.0
"""Between two lines where there is no terminal."""

_SIGNS: dict[Doing, tuple[str, str]] = {
    "preparing": (".", "dim"),
    "connecting": (".", "dim"),
    "speaking": ("▶", "cyan"),
    "waiting": ("?", "yellow"),
    "listening": ("♪", "green"),
    "done": ("✓", "dim"),
}
_CURVE_FORM = "{:>13} {:>7} {:>7} {:>7} {:>11}  {}"
_SECONDS_A_MINUTE = 60


class LiveView:
    """Shows what it is told; is gone when the block ends, but for the steps of a ramp.

    Args:
        console: Where to: standard error, so that the report can be piped.
        clock: Counts down what is left.
    """

    def __init__(self, console: Console, clock: Clock = now) -> None:
        self._console = console
        self._clock = clock
        self._progress: Progress | None = None
        self._told = self._printed = clock()
        self._steps = 0
        self._live = Live(
            get_renderable=self._draw, console=console, refresh_per_second=REDRAWS_A_SECOND, transient=True
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, progress: Progress) -> None:
        """The run has come further."""
        before, at = self._progress, self._clock()
        self._progress = progress
        if before is None or before.left_s != progress.left_s:
            self._told = at
        if not self._console.is_terminal and at - self._printed >= PLAIN_EVERY_S:
            self._printed = at
            self._console.print(Text(plain_line(progress)))

    def step(self, step: RampStep) -> None:
        """A step of a ramp is done: its row of the curve stays."""
        if not self._steps:
            heading = _CURVE_FORM.format("conversations", "p50", "p95", "failed", "client CPU", "kept")
            self._console.print(Text(heading, style="dim"))
        self._steps += 1
        self._console.print(curve_row(step))

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(Text(text))

    def _draw(self) -> RenderableType:
        progress = self._progress
        if progress is None:
            return Text("connecting")
        left_s = None if progress.left_s is None else max(0.0, progress.left_s - (self._clock() - self._told))
        return Group(*live_lines(progress, left_s))


def live_lines(progress: Progress, left_s: float | None) -> Iterator[Text]:
    """Two lines about one conversation, three about several."""
    about = (
        f"{_turn(progress)}  {progress.audio}: {progress.doing}" if len(progress.all_doing) <= 1 else _turn(progress)
    )
    yield Text(f"{about}{_left(left_s)}", no_wrap=True, overflow="ellipsis")
    if progress.doing != "preparing":
        yield Text(_so_far(progress), no_wrap=True, overflow="ellipsis")
    if len(progress.all_doing) > 1:
        signs = Text(no_wrap=True, overflow="ellipsis")
        for doing in progress.all_doing:
            sign, style = _SIGNS[doing]
            signs.append(sign, style)
        yield signs.append(f"  {_counted(progress)}", "dim")


def plain_line(progress: Progress) -> str:
    """The same in one line without colours."""
    several = f", {_counted(progress)}" if len(progress.all_doing) > 1 else ""
    so_far = "" if progress.doing == "preparing" else f": {_so_far(progress)}"
    return f"{_turn(progress)}{so_far}{several}{_left(progress.left_s)}"


def curve_row(step: RampStep) -> Text:
    """One number of conversations of a ramp."""
    times, check = step.report.summary.client_v2v_ms, step.report.self_check
    twice = ", tried twice" if step.tries > 1 else ""
    kept = "yes" if step.kept else f"no: {step.report.interrupted}" if step.report.interrupted else "no"
    cells = (
        step.sessions,
        _ms(times.p50, times),
        _ms(times.p95, times),
        times.failed,
        "-" if check is None else f"{check.cpu_percent:.0f} %",
        ("unknown: this client is too busy" if step.is_void else kept) + twice,
    )
    return Text(_CURVE_FORM.format(*map(str, cells)), style="" if step.kept else "red")


def _turn(progress: Progress) -> str:
    if progress.doing == "preparing":
        return f"speaking question {progress.turn} of {progress.turns}"
    return f"turn {progress.turn}" + ("" if progress.turns is None else f" of {progress.turns}")


def _so_far(progress: Progress) -> str:
    if progress.p50_ms is None and not progress.failed:
        return "no answer yet"
    p50, p95 = ("∞" if ms is None else f"{ms:.0f} ms" for ms in (progress.p50_ms, progress.p95_ms))
    return f"p50 {p50}, p95 {p95}, {progress.failed} failed"


def _counted(progress: Progress) -> str:
    counted = Counter(progress.all_doing)
    return ", ".join(f"{counted[one]} {one}" for one in get_args(Doing) if counted[one])


def _left(left_s: float | None) -> str:
    if left_s is None:
        return ""
    minutes, seconds = divmod(round(left_s), _SECONDS_A_MINUTE)
    return f", about {minutes}:{seconds:02} left"


def _ms(value: float | None, times: Distribution) -> str:
    return f"{value:.0f}" if value is not None else "∞" if times.failed else "-"
