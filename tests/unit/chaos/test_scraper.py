"""What the scraper of the chaos harness reads, and what it finds."""

from __future__ import annotations

from tests.chaos.scraper import calls, lowered, read_counters, turns_by_status

TEXT = """
# HELP bandstand_turns_total Turns that ended.
# TYPE bandstand_turns_total counter
bandstand_turns_total{agent="demo",status="completed"} 5.0
bandstand_turns_total{agent="other",status="completed"} 2.0
bandstand_turns_total{agent="demo",status="failed"} 0.0
bandstand_turn_seconds_bucket{agent="demo",le="0.5"} 4.0
bandstand_turn_queue_seconds_sum 1.25
bandstand_turns_open{status="queued"} 3.0
bandstand_turns_stuck 1.0
bandstand_event_lag_seconds_count{process="web a:1"} 9.0
bandstand_process_requests_total{process="web a:1"} 9.0
gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name="chat"} 6.0
gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name="execute_tool"} 1.0
""".splitlines()


def test_counters_of_the_installation_are_read_and_nothing_else() -> None:
    series = read_counters(TEXT)
    assert len(series) == 7
    assert turns_by_status(series) == {"completed": 7}
    assert calls(series) == 7


def test_what_falls_or_is_gone_is_found() -> None:
    series = read_counters(TEXT)
    assert lowered(series, series) == []
    name = 'bandstand_turns_total{agent="demo",status="completed"}'
    assert lowered(series, series | {name: 4.0}) == [f"{name} was 5, and then 4.0"]
    assert lowered(series, series | {name: 6.0, "new": 1.0}) == []
    assert lowered({name: 0.0}, {}) == [f"{name} was 0, and then None"]
