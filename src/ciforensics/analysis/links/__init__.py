"""Which rows of several logs are the same request, and by how much the logs' clocks differ."""
