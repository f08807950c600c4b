"""The I/O edge: HTTP, the WebSocket, and what an operator asks the node."""
