"""The table of docs/metrics.md, made out of the metrics: `python -m tests.metrics_document` writes it anew."""

from __future__ import annotations

from pathlib import Path

from voiceedge.server.admission import Admission
from voiceedge.server.build import Build
from voiceedge.server.metrics import Metrics
from voiceedge.session.compute import Compute

METRICS = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
HEAD = "| metric | type | labels | what it is |"
BOUNDS = {"le"}
"""Labels that a histogram brings along."""
OPEN = {
    "voiceedge_build_info": "`version`, `profile`, and the model of each stage",
    "voiceedge_model_file_bytes": "`stage`",
}
"""What no set in the code fixes, but the node's start does."""


def metrics_table() -> str:
    """A row for each of the node's own metrics, with every value that its label may have."""
    metrics, compute = Metrics(Build("", "")), Compute(1)
    try:
        metrics.watch(Admission(1), compute)
        families = [family for family in metrics.registry.collect() if family.name.startswith("voiceedge_")]
    finally:
        compute.close()
    rows = [HEAD, "|---|---|---|---|"]
    for family in families:
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        rows.append(
            f"| `{name}` | {_type(family.type)} | {OPEN.get(name) or _labels(family)} | {family.documentation} |"
        )
    return "\n".join(rows)


def _type(kind: str) -> str:
    return "gauge" if kind == "info" else kind


def _labels(family: object) -> str:
    values: dict[str, list[str]] = {}
    for sample in family.samples:  # type: ignore[attr-defined]
        for label, value in sample.labels.items():
            if label not in BOUNDS and value not in values.setdefault(label, []):
                values[label].append(value)
    return "; ".join(f"`{label}`: {', '.join(those)}" for label, those in values.items()) or "—"


def write() -> None:
    """Bring docs/metrics.md up to date."""
    text = METRICS.read_text(encoding="utf-8")
    begin = text.index(HEAD)
    end = text.index("\n\n", begin)
    METRICS.write_text(text[:begin] + metrics_table() + text[end:], encoding="utf-8")


if __name__ == "__main__":
    write()
