"""What this process may use of the machine that it runs on: processor, cores, memory."""

from voiceedge.machine.facts import FEATURES, Machine, load_average, machine
from voiceedge.machine.limits import Limits, limits

__all__ = ["FEATURES", "Limits", "Machine", "limits", "load_average", "machine"]
