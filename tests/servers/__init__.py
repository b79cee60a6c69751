"""Real servers on free ports of loopback, as pytest fixtures; they know nothing of duckalog."""
