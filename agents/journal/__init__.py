"""The only writer of turns, steps and events; every write of a runner is fenced by the turn's epoch."""
