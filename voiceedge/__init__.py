"""VoiceEdge: a real-time voice-agent server that runs its models on the node's own CPU."""

__version__ = "0.1.0"
