"""The export of traces to a real receiver, which reads them with OpenTelemetry's own package."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import override_settings
from pydantic import SecretStr

from agents.domain.states import StepKind, StepStatus
from agents.journal.fenced_writes import Intent, StepOutcome, advance
from agents.models import Step, Turn
from foundation.clock import now
from foundation.ids import lowest_id, new_id
from health_checks.check import Level
from monitoring.models import TraceExport, TraceSettings, TurnSpan
from monitoring.otlp.export import export_to, export_traces
from monitoring.otlp.health_checks import CHECKS, evaluate_trace_export
from monitoring.otlp.receiver import ReceiverConfig
from monitoring.spans.partitions import create_partitions
from tests.support.conversations import Conversation, answer, claimed, conversation, fail
from tests.support.otlp_receiver import OtlpReceiver, attributes_of, otlp_receiver

pytestmark = pytest.mark.usefixtures("transactional_db")

SOON = timedelta(minutes=2)
SECRET = "sesame-of-the-receiver"


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as one:
        yield one


@pytest.fixture(autouse=True)
def begun(transactional_db: None) -> None:
    TraceExport.objects.create(visited=lowest_id(now() - timedelta(hours=1)))


def answered(question: str = "What is 2 + 3?", name: str = "ada") -> Conversation:
    """A turn with a model call, a call of a tool, and an answer."""
    ada = conversation(name)
    ada.ask(question)
    work = claimed()
    result = {"text": "", "tool_calls": [{"id": "c1", "name": "calculate", "arguments": '{"a": 1}'}]}
    details = {"first_token_seconds": 0.25, "request_id": "req-9", "attempt": 1, "cached_tokens": 7}
    advance(
        work,
        outcomes=[StepOutcome(1, StepStatus.DONE, result, name="google:gemini-2.5-flash", details=details)],
        intents=[Intent(2, StepKind.TOOL, "calculate", "c1", True, '{"a": 1}')],
        events=[],
    )
    advance(work, outcomes=[StepOutcome(2, StepStatus.DONE, {"content": "five"})], intents=[], events=[])
    answer(work, "It is five.")
    return ada


def span_of(turn: Turn) -> TurnSpan:
    at = turn.queued_at
    with connection.cursor() as cursor:
        create_partitions(cursor, [at.date()])
    return TurnSpan.objects.create(
        started_at=at, id=-5, turn_id=turn.pk, agent_id=new_id(), name="bandstand.delivery",
        ended_at=at + timedelta(seconds=1), attributes={"bandstand.transport": "sse"},
    )  # fmt: skip


def export(receiver: OtlpReceiver, **options: Any) -> int:
    return export_to(ReceiverConfig(receiver.endpoint), **{"at": now() + SOON, **options})


def state() -> TraceExport:
    return TraceExport.objects.get()


# --- what is sent ---


def test_a_turn_is_a_trace_with_its_steps_and_spans_under_the_names_of_opentelemetry(receiver: OtlpReceiver) -> None:
    ada = answered()
    turn = ada.turn()
    span_of(turn)
    assert export(receiver) == 1
    assert {span.trace_id for span in receiver.spans()} == {turn.pk.bytes}
    names = [
        "invoke_agent Demo",
        "bandstand.queue",
        "chat gemini-2.5-flash",
        "execute_tool calculate",
        "bandstand.delivery",
    ]
    assert [span.name for span in receiver.spans()] == names
    root, *children = receiver.spans()
    assert root.parent_span_id == b""
    assert {child.parent_span_id for child in children} == {root.span_id}
    assert len({span.span_id for span in receiver.spans()}) == 5
    assert children[-1].span_id == (-5).to_bytes(8, signed=True)
    seconds = (turn.finished_at - turn.queued_at).total_seconds()  # type: ignore[operator]
    assert root.end_time_unix_nano - root.start_time_unix_nano == pytest.approx(seconds * 1e9, abs=1_000)
    assert root.start_time_unix_nano // 1_000 == int(turn.queued_at.timestamp()) * 10**6 + turn.queued_at.microsecond
    of_root = attributes_of(root)
    assert of_root["gen_ai.operation.name"] == "invoke_agent"
    assert of_root["gen_ai.conversation.id"] == str(ada.session_id)
    assert (of_root["gen_ai.agent.name"], of_root["gen_ai.agent.version"]) == ("Demo", "1")
    of_chat = attributes_of(receiver.named("chat gemini-2.5-flash"))
    assert of_chat["gen_ai.provider.name"] == "gcp.gemini"
    assert of_chat["gen_ai.request.model"] == "gemini-2.5-flash"
    assert of_chat["gen_ai.response.time_to_first_chunk"] == 0.25
    assert of_chat["gen_ai.usage.cache_read.input_tokens"] == 7
    assert of_chat["bandstand.provider_request_id"] == "req-9"
    assert attributes_of(receiver.named("execute_tool calculate"))["gen_ai.tool.call.id"] == "c1"
    assert attributes_of(receiver.named("bandstand.delivery")) == {"bandstand.transport": "sse"}
    resource = attributes_of(receiver.messages[0].resource_spans[0].resource)
    assert resource["service.name"] == "bandstand"


def test_what_was_said_leaves_only_for_an_agent_that_says_so(receiver: OtlpReceiver) -> None:
    ada = answered()
    assert export(receiver) == 1
    sent = b"".join(message.SerializeToString() for message in receiver.messages)
    for word in (b"2 + 3", b"five", b'{"a": 1}'):
        assert word not in sent
    receiver.messages.clear()
    TraceSettings.objects.create(agent_id=ada.row.agent_id, exports_content=True)
    answered(name="bob")
    assert export(receiver) == 1
    root = attributes_of(receiver.named("invoke_agent Demo"))
    assert '"content": "What is 2 + 3?"' in root["gen_ai.input.messages"]
    assert '"content": "It is five."' in root["gen_ai.output.messages"]
    chat = attributes_of(receiver.named("chat gemini-2.5-flash"))["gen_ai.output.messages"]
    assert '"type": "tool_call"' in chat
    tool = attributes_of(receiver.named("execute_tool calculate"))
    assert (tool["gen_ai.tool.call.arguments"], tool["gen_ai.tool.call.result"]) == ('{"a": 1}', '{"content": "five"}')


def test_secrets_do_not_leave_with_what_was_said(receiver: OtlpReceiver) -> None:
    ada = answered("Is sk-abcdefgh12345678 a key?")
    TraceSettings.objects.create(agent_id=ada.row.agent_id, exports_content=True)
    assert export(receiver) == 1
    question = attributes_of(receiver.named("invoke_agent Demo"))["gen_ai.input.messages"]
    assert "Is [scrubbed] a key?" in question


def test_a_failed_turn_says_its_error_and_nothing_of_its_words(receiver: OtlpReceiver) -> None:
    conversation().ask()
    fail(claimed())
    assert export(receiver) == 1
    root = receiver.named("invoke_agent Demo")
    assert root.status.code == 2
    assert attributes_of(root)["error.type"] == Turn.objects.get().error_class


# --- once at least, whatever happens ---


def test_each_turn_is_sent_once_and_one_that_is_open_when_it_ends(receiver: OtlpReceiver) -> None:
    answered()
    bob = conversation("bob")
    bob.ask()
    assert export(receiver) == 1
    assert state().open_turns == [bob.turn().pk]
    assert export(receiver) == 0
    answer(claimed(), "Hello.")
    assert export(receiver) == 1
    assert [UUID(bytes=span.trace_id) for span in receiver.spans()][-1] == bob.turn().pk
    assert (state().open_turns, state().exported) == ([], 2)


def test_a_turn_that_is_deleted_while_it_is_open_is_forgotten(receiver: OtlpReceiver) -> None:
    ada = conversation()
    ada.ask()
    export(receiver)
    ada.row.delete()
    assert export(receiver) == 0
    assert state().open_turns == []


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_what_the_receiver_does_not_take_is_kept_and_sent_later(receiver: OtlpReceiver, status: int) -> None:
    answered()
    receiver.statuses = [status]
    assert export(receiver) == 0
    assert (state().failures, str(status) in state().last_error) == (1, True)
    assert export(receiver) == 0, "it waits"
    assert len(receiver.headers) == 1
    assert export(receiver, at=now() + SOON + timedelta(seconds=11)) == 1
    assert (state().failures, state().retry_at, state().last_error) == (0, None, "")


def test_the_pauses_grow_to_ten_minutes_and_the_receiver_may_ask_for_longer_ones(receiver: OtlpReceiver) -> None:
    answered()
    at = now() + SOON
    receiver.statuses = [503] * 9
    pauses = []
    for number in range(9):
        receiver.retry_after = "45" if number == 1 else ""
        export(receiver, at=at)
        retry_at = state().retry_at
        assert retry_at is not None
        pauses.append((retry_at - at).total_seconds())
        at = retry_at
    assert pauses == [10, 45, 40, 80, 160, 320, 600, 600, 600]


def test_nobody_there_loses_nothing(receiver: OtlpReceiver) -> None:
    answered()
    assert export_to(ReceiverConfig("http://127.0.0.1:9"), at=now() + SOON) == 0
    assert "cannot be reached" in state().last_error
    assert export(receiver, at=now() + SOON + timedelta(seconds=11)) == 1


def test_a_process_that_dies_after_the_receiver_took_it_sends_the_same_trace_again(receiver: OtlpReceiver) -> None:
    answered()
    before = state()
    assert export(receiver) == 1
    TraceExport.objects.filter(pk=1).update(visited=before.visited)
    assert export(receiver) == 1
    first, second = (
        [span.span_id for span in message.resource_spans[0].scope_spans[0].spans] for message in receiver.messages
    )
    assert first == second


def test_one_turn_that_is_refused_for_ever_does_not_hold_up_the_others(receiver: OtlpReceiver) -> None:
    bad = answered().turn()
    answered(name="bob")
    receiver.refused = {bad.pk.bytes}
    assert export(receiver) == 1
    assert (state().exported, state().refused) == (1, 1)


def test_one_turn_that_cannot_be_read_does_not_hold_up_the_others(receiver: OtlpReceiver) -> None:
    for name in ("ada", "bob", "eve"):
        answered(name=name)
    Step.objects.filter(turn=Turn.objects.order_by("pk")[1]).update(details=[])
    assert export(receiver) == 2
    assert (state().exported, state().refused, state().failures) == (2, 1, 0)
    assert export(receiver) == 0


def test_many_turns_go_in_bounded_messages(receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.otlp.export.BATCH_TURNS", 2)
    monkeypatch.setattr("monitoring.otlp.export.MESSAGE_SPANS", 5)
    for number in range(5):
        answered(name=f"user{number}")
    assert export(receiver) == 5
    assert len(receiver.messages) == 5


# --- the job ---


def test_the_job_sends_its_headers_and_never_logs_them(
    receiver: OtlpReceiver,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = settings.BANDSTAND.model_copy(
        update={"otlp_endpoint": receiver.endpoint, "otlp_headers": SecretStr(f"x-key={SECRET},b=c%20d")}
    )
    TraceExport.objects.update(open_turns=[answered().turn().pk])
    monkeypatch.setattr("monitoring.otlp.export.SPANS_AFTER", -SOON)
    receiver.statuses = [503]
    with override_settings(BANDSTAND=config):
        assert export_traces() == 0
        TraceExport.objects.update(retry_at=None)
        assert export_traces() == 1
    assert (receiver.headers[0]["x-key"], receiver.headers[0]["b"]) == (SECRET, "c d")
    assert SECRET not in caplog.text + "".join(capsys.readouterr())
    assert SECRET not in state().last_error


def test_without_an_endpoint_the_job_does_nothing() -> None:
    answered()
    assert export_traces() == 0


# --- the check ---


def test_the_start_page_says_when_nothing_is_taken_for_a_while() -> None:
    row = state()
    assert evaluate_trace_export(None) == evaluate_trace_export(row) == []
    row.failures, row.last_error = 6, "The receiver answers 401."
    assert [(finding.level, finding.message) for finding in evaluate_trace_export(row)] == [
        (Level.WARN, "traces are not exported: The receiver answers 401.")
    ]
    row.visited = lowest_id(now() - timedelta(days=6, hours=1))
    assert [finding.level for finding in evaluate_trace_export(row)] == [Level.BAD]
    assert [check.name for check in CHECKS] == ["trace_export"]
