"""Measurements of the running server, on the media that a client receives. `python -m bench --help`."""
