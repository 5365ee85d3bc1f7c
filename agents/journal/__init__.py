"""The only writer of turns, steps and events.

`admit` is for acceptance, `claims` for runners that look for work, `fenced` for the runner that owns a turn, `locked`
for everybody who holds the session's lock instead (stop, give back, reap).
"""
