"""One socket's conversation: where the audio walks."""
