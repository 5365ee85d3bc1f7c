"""Spans of turns: written from the processes' buffers, read with a turn, dropped by day."""
