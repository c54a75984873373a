"""The xiaozhi WebSocket protocol: a remote service that hears, thinks and speaks."""
