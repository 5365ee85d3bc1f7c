"""The page of readiness, over connections of its own."""

from django.test import Client

from scheduling.tasks import record_scheduler_heartbeat


def test_the_probe_answers_with_the_parts(transactional_db: None, client: Client) -> None:
    record_scheduler_heartbeat()
    response = client.get("/ready", headers={"host": "10.1.2.3"})
    assert response.status_code == 503
    assert response.json() == {"status": "failing", "failing": {"runner": "no runner has reported itself lately"}}
