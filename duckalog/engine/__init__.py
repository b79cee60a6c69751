"""Plan to connection: the only place that opens a catalog."""
