"""What is decided in a conversation: values in, values out; no await, socket, clock or numpy."""
