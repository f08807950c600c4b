"""`voiceedge bench` hands the report out in every form that was asked for."""

import json

import pytest

from tests.bench.rows import row
from voiceedge import cli
from voiceedge.bench import probe
from voiceedge.bench.report import BenchReport


def main(monkeypatch, run_bench, *arguments):
    """Runs the command with this probe; returns the exit code."""
    monkeypatch.setattr(probe, "run_bench", run_bench)
    monkeypatch.setattr("sys.argv", ["voiceedge", "bench", "host:1", "--audio", "a.wav", *arguments])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    return exited.value.code


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command without a node, whose answers take `ms`; returns (exit code, stdout, stderr)."""

    def call(*arguments, ms=400.0):
        async def run_bench(options, *_):
            return BenchReport({"url": options.url}, tuple(row(f"r{n}", ms + n, zero_s=float(n)) for n in range(12)))

        return main(monkeypatch, run_bench, *arguments) or 0, *capsys.readouterr()

    return call


def test_the_page_and_the_json_hold_the_same_report(run, tmp_path):
    page, figures = tmp_path / "report.html", tmp_path / "report.json"
    code, _, _ = run("--html", str(page), "--json", str(figures))
    assert code == 0
    told = json.loads(figures.read_text("utf-8"))
    assert told["command"] == f"voiceedge bench host:1 --audio a.wav --html {page} --json {figures}"
    assert json.dumps(told["summary"], separators=(",", ":")) in page.read_text("utf-8")


def test_the_json_can_be_printed_while_a_page_is_written(run, tmp_path):
    _, out, _ = run("--json", "-", "--html", str(tmp_path / "report.html"))
    assert json.loads(out)["schema"] == "voiceedge.bench/3"
    assert (tmp_path / "report.html").exists()


def test_the_command_is_the_last_line_and_does_not_show_the_key(run):
    _, out, _ = run("--api-key", "s3cret", "--instructions", "it's me")
    assert out.splitlines()[-1] == """voiceedge bench host:1 --audio a.wav --api-key KEY --instructions 'it'"'"'s me'"""


@pytest.mark.parametrize(
    ("ms", "words"), [(400.0, "no difference"), (800.0, "slower by 98."), (200.0, "faster by 49.")]
)
def test_a_report_is_compared_with_an_older_one(run, tmp_path, ms, words):
    old = tmp_path / "old.json"
    run("--json", str(old))
    code, out, _ = run("--compare", str(old), ms=ms)
    assert code == 0
    assert words in out


def test_the_comparison_is_in_the_json(run, tmp_path):
    old = tmp_path / "old.json"
    run("--json", str(old))
    _, out, _ = run("--compare", str(old), "--json", "-", ms=800.0)
    assert json.loads(out)["change"]["verdict"] == "slower"


def test_an_older_report_that_is_none_is_found_before_anything_is_sent(tmp_path, monkeypatch, capsys):
    async def never(*_):
        pytest.fail("the node was talked to")

    old = tmp_path / "old.json"
    old.write_text("{}")
    assert main(monkeypatch, never, "--compare", str(old)) == 2
    assert "is no report to compare with" in " ".join(capsys.readouterr().err.split())


def test_a_run_that_ended_early_has_its_page(tmp_path, monkeypatch):
    async def run_bench(options, *_):
        failed = row("a", None, critical_path=(), server_v2v_ms=None, problems=("no_answer",))
        return BenchReport({"url": options.url}, (failed,), "the node went away")

    page = tmp_path / "report.html"
    main(monkeypatch, run_bench, "--html", str(page))
    assert "the node went away" in page.read_text("utf-8")
