"""The only writer of turns, steps and events.

`admission` accepts messages, `claims` is for runners that look for work, `fenced_writes` for the runner that owns a
turn, `locked_writes` for code that holds the session's lock instead (cancel, requeue, reap).
"""
