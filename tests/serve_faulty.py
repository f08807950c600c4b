"""A real node whose engines fail as planned, as a process of its own.

    python -m tests.serve_faulty --faults "llm:raise:0.01,stt:hang=30:0.002" --seed 1 -- serve --engines fake --port 0

What stands behind `--` is the command line of `voiceedge`; the engines may be fake or real, and those that the node
loads anew are faulty as well. They are sound until the node has warmed up. SIGUSR1 mends everything, and what hangs
goes on; SIGUSR2 breaks it again as planned. How often what happened is told on stderr at the end.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from dataclasses import replace
from typing import Any

from tests.faulty import Plan, faulty, faulty_load, read_faults
from voiceedge import cli, cli_serve
from voiceedge.session import warming


def main() -> None:
    """Run `voiceedge` with engines that are faulty once they are warm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", required=True, help="stage:kind[=seconds]:probability or :#step, with commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("command", nargs="+", help="behind --: serve and its options")
    options = parser.parse_args()
    faults, plan = read_faults(options.faults), Plan(seed=options.seed)
    load, warm_up = cli_serve._load, warming.warm_up

    def load_faulty(*arguments: Any) -> Any:
        loaded = load(*arguments)
        load_stage = faulty_load(loaded.load_stage, plan)
        return replace(loaded, engines=faulty(loaded.engines, plan), load_stage=load_stage)

    def warm_then_break(*arguments: Any) -> Any:
        speeds = warm_up(*arguments)
        plan.plan(faults)
        return speeds

    cli_serve._load = load_faulty
    warming.warm_up = warm_then_break  # imported by name when the node is wired
    # by threads: the one that is interrupted may be in the plan just now
    signal.signal(signal.SIGUSR1, lambda *_: threading.Thread(target=plan.mend).start())
    signal.signal(signal.SIGUSR2, lambda *_: threading.Thread(target=plan.plan, args=[faults]).start())
    sys.argv = ["voiceedge", *options.command]
    leave = os._exit

    def tell_and_leave(code: int) -> None:
        tell(plan)
        leave(code)

    os._exit = tell_and_leave  # a process that has threads that hang ends without much ado
    try:
        cli.main()
    finally:
        tell(plan)


def tell(plan: Plan) -> None:
    """Say what has happened."""
    happened = ", ".join(f"{stage} {kind} {count}" for (stage, kind), count in sorted(plan.happened.items()))
    sys.stderr.write(f"faults: {happened or 'none'}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
