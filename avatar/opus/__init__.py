"""Opus packets, without a container: what voice services send over their sockets."""
