"""One module a log. A new log is one file here, one sample, one test; nothing registers it."""
