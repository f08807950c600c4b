"""What all tests share: nothing but how hypothesis behaves on a busy machine."""

from hypothesis import settings

# a slow run on a shared machine is no defect of the code; failing examples are found by value, not by time
settings.register_profile("voiceedge", deadline=None)
settings.load_profile("voiceedge")
