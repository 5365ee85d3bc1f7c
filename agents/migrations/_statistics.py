"""What the planner has to know beside what it gathers of each column."""

# How long turns took. Without it a third of all turns counts as slow, whatever the limit, and a list of the slow ones
# is made by reading all turns.
STATISTICS = "CREATE STATISTICS turn_duration ON (finished_at - queued_at) FROM agents_turn"
STATISTICS_BACK = "DROP STATISTICS turn_duration"
