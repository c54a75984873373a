"""The espeak-ng engine of the process, for everything that speaks or pronounces with it."""
