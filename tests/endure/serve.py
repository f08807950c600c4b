"""A real node in which only those who are marked are hit by faults, as a process of its own.

    python -m tests.endure.serve --faults "llm:raise:0.01,stt:hang=5:0.002" --seed 1 -- serve --engines fake --port 0

As tests/serve_faulty.py otherwise: sound until it is warm, and at the end it tells on stderr what happened.
"""

from __future__ import annotations

from tests import serve_faulty
from tests.endure.marks import marked, marked_load


def main() -> None:
    """Run it."""
    serve_faulty.faulty = marked
    serve_faulty.faulty_load = marked_load
    serve_faulty.main()


if __name__ == "__main__":
    main()
