"""VoiceEdge: a real-time voice-agent server that runs its models on the node's own CPU."""

from voiceedge.config import tame_libraries

__version__ = "0.1.0"

tame_libraries()  # here, as it has to come before the first import of numpy and onnxruntime
