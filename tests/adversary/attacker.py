"""One attack in a process of its own, at the lowest priority and on a leash: JSON of what came of it.

    python -m tests.adversary.attacker hostile-handshakes --port 8080 --credentials FILE --seconds 20 --share 0.25

It says `ready`, waits for a line, attacks, and says the answers, the seconds that it took, and its own CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from tests.adversary.attack import carry_out
from tests.adversary.credentials import Credentials
from tests.adversary.library import ATTACKS
from tests.adversary.target import Leash, Target

LAST = 19
"""Runs only where nobody else wants to, as somebody who is far away."""
GRACE_S = 30.0
"""Beyond the attack's own patience, after which the process gives up."""


def main() -> None:
    """Attack once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=ATTACKS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--credentials", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=0.0, help="0: each variant once, as fast as they come")
    parser.add_argument("--flood", type=int, default=5_000)
    parser.add_argument("--share", type=float, help="of a core; as much as it takes without")
    options = parser.parse_args()
    attack = ATTACKS[options.name]
    target = Target(options.port, Credentials.load(options.credentials), attack.node == "tls", flood=options.flood)
    os.nice(LAST)
    _say("ready")
    sys.stdin.readline()
    begun, cpu_s = time.monotonic(), time.process_time()
    aimed = replace(target, leash=Leash(options.share))
    until = begun + options.seconds if options.seconds else 0.0
    attempts = max(attack.at_least, 0 if until else len(attack.variants))
    longest_s = options.seconds + 4 * attempts / attack.rate + attack.patience_s + GRACE_S
    answers = asyncio.run(asyncio.wait_for(carry_out(attack, aimed, attempts=attempts, until=until), longest_s))
    took = {"seconds": time.monotonic() - begun, "cpu_s": time.process_time() - cpu_s}
    _say(json.dumps({"answers": dict(answers.most_common()), **took}))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
