"""The wire: OpenAI's Realtime protocol in its GA shape, and the beta's names for old clients."""
