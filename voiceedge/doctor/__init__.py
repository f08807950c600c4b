"""What this machine can do, what is wrong with it, and what to do about that."""
