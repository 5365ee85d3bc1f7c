"""Every fault of a provider, on the first, the middle and the last route, before and in the middle of an answer, and
after a tool: there is exactly one visible answer or error, never a mixed one, and the journal says what happened.

All turns run at once, against one server. A route's name says how it behaves (see `tests.provider.script`).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from agents.domain.backoff import Backoff
from agents.domain.events import TERMINAL_EVENTS
from agents.domain.failures import ErrorClass, Recovery
from agents.domain.fallback import Policy
from agents.domain.message_parts import Part
from agents.domain.replay import show_event
from agents.domain.retry_budget import RetryBudget
from agents.engine.context import load_context
from agents.engine.ports import Services
from agents.engine.turn import TurnRun
from agents.llm.dialect_settings import read_dialects
from agents.llm.gateway import Gateway, GatewayConfig
from agents.llm.interface import LLM
from agents.llm.model_catalog import Rates
from agents.llm.openai import OpenAIConfig, OpenAIModel
from agents.models import Event, Message, Step, Turn
from foundation.db_threads import in_db_thread
from foundation.http import GuardedClient, allowed_origin
from tests.provider import Provider
from tests.provider.fixture import provider  # noqa: F401
from tests.support.conversations import claim, conversation
from tests.support.scripted import scripted
from tests.support.surroundings import free_port
from tests.support.turns import works

CHANGES_CONTEXTS = True
pytestmark = pytest.mark.usefixtures("transactional_db")

PLACES = (0, 1, 2)
PACE = ".tps-100"
MANNERS = {"plain": "", "streamed": PACE, "tool": ".tool-clock.in_round-1"}
GOOD = "good one two three"
CENT = Decimal(10_000)
PRICE = Rates(input=CENT, cached=CENT, cache_write=CENT, output=CENT)
# How long is waited for those that hang or fall silent; the others have all the time that a loaded machine needs.
DIALECTS = "openai:hang*=+first_token_seconds=1,openai:silence*=+silence_seconds=0.4"


@dataclass(frozen=True)
class Fault:
    """`settings` follow the route's name. `bills`: the provider may have worked, so what it costs is not nothing;
    `usage`: it has said how much at last. `error_class` None: it is no failure at all."""

    settings: str
    error_class: ErrorClass | None
    bills: bool = False
    usage: bool = False


_E = ErrorClass
FAULTS = {
    "refused": Fault("", _E.TRANSIENT),
    "tls": Fault("", _E.TRANSIENT),
    "401": Fault(".fault-401", _E.AUTH),
    "400": Fault(".fault-400", _E.BAD_REQUEST),
    "404": Fault(".fault-404", _E.BAD_REQUEST),
    "429": Fault(".fault-429", _E.RATE_LIMIT),
    "429 with Retry-After": Fault(".fault-429.retry_after-1", _E.RATE_LIMIT),
    "429 without quota": Fault(".fault-quota", _E.AUTH),
    "500": Fault(".fault-500", _E.TRANSIENT),
    "529": Fault(".fault-529", _E.TRANSIENT),
    "hang": Fault(".fault-hang", _E.TRANSIENT, bills=True),
    "silence": Fault(".fault-silence.after-2", _E.TRANSIENT, bills=True),
    "cut at 0": Fault(".fault-cut.after-0", _E.TRANSIENT, bills=True),
    "cut at 1": Fault(".fault-cut.after-1", _E.TRANSIENT, bills=True),
    "cut at 2": Fault(".fault-cut.after-2", _E.TRANSIENT, bills=True),
    "cut at 3": Fault(".fault-cut.after-3", _E.TRANSIENT, bills=True),
    "cut at 4": Fault(".fault-cut.after-4", _E.TRANSIENT, bills=True),
    "cut after its usage": Fault(".fault-cut.after-0.usage-early", _E.TRANSIENT, bills=True, usage=True),
    # Nobody says how much of what came later is billed.
    "cut after words that follow its usage": Fault(".fault-cut.after-2.usage-early", _E.TRANSIENT, bills=True),
    "malformed chunk": Fault(".fault-badjson.after-2", _E.TRANSIENT, bills=True),
    "200 with an error": Fault(".fault-json_error_200", _E.TRANSIENT, bills=True),
    "error in the stream": Fault(".fault-stream_error.after-2", _E.TRANSIENT, bills=True),
    "empty": Fault(".fault-only_done", _E.EMPTY_ANSWER, bills=True),
    "too long": Fault(".fault-ctx", _E.CONTEXT_LENGTH),
    "filter": Fault(".fault-filter_http", _E.CONTENT_FILTER),
    "filter in the stream": Fault(".fault-filter.after-2", _E.CONTENT_FILTER, bills=True),
    "wrong usage": Fault(".usage-wrong", None, bills=True),
}  # fmt: skip
UNREACHABLE = ("refused", "tls")


@dataclass(frozen=True)
class Case:
    name: str
    manner: str
    place: int

    @property
    def fault(self) -> Fault:
        return FAULTS[self.name]

    @property
    def chain(self) -> tuple[str, ...]:
        tool = self.manner == "tool"
        down = tuple(f"openai:down{place}.fault-401" for place in range(self.place))
        words = f".text-{self.bad_words}"
        behaviour = f"{self.fault.settings}{MANNERS[self.manner]}"
        server = self.name if self.name in UNREACHABLE else "openai"
        kind = next((kind for kind in ("hang", "silence") if self.name == kind), "bad")
        good = (f"openai:good.text-{GOOD}" + (".tool-clock" if tool else PACE),)
        return (*down, f"{server}:{kind}{self.place}{words}{behaviour}", *good)[:3]

    @property
    def bad_words(self) -> str:
        return "bad four five six"

    @property
    def attempts(self) -> int:
        """How often the route with the fault is asked for one answer."""
        recovery = self.fault.error_class.failure.recovery if self.fault.error_class else None
        return (3 if self.is_last else 2) if recovery is Recovery.RETRY else 1

    @property
    def is_last(self) -> bool:
        return self.place == len(self.chain) - 1

    @property
    def ends_with_it(self) -> bool:
        ends = (_E.CONTENT_FILTER, _E.CONTEXT_LENGTH)
        return self.fault.error_class in ends or (self.is_last and self.fault.error_class is not None)

    @property
    def calls(self) -> list[tuple[str, str]]:
        """The model calls that are expected: each route, with the class of its error."""
        route, error_class = self.chain[self.place], self.fault.error_class
        down = [(down, "auth") for down in self.chain[: self.place]]
        fails = [(route, str(error_class))] * self.attempts if error_class else [(route, "")]
        answer = [] if self.ends_with_it or error_class is None else [(self.chain[self.place + 1], "")]
        whole = [*down, *fails, *answer]
        if self.manner != "tool" or (self.ends_with_it and self.name in UNREACHABLE):
            return whole
        # The first answer is the call of the tool; only those that nobody can reach fail already there.
        return (whole if self.name in UNREACHABLE else [*down, (route, "")]) + whole


CASES = [Case(*one) for one in product(FAULTS, MANNERS, PLACES)]


class Gateways(Gateway):
    """Besides the provider: a port that nobody listens at, and one that does not speak TLS."""

    def __init__(self, config: GatewayConfig, client: GuardedClient, unreachable: dict[str, str]) -> None:
        super().__init__(config, client=client)
        self._unreachable = {
            name: OpenAIModel(OpenAIConfig("sk-test", url), client) for name, url in unreachable.items()
        }

    def resolve(self, route: str) -> tuple[LLM, str]:
        provider_name, _, model = route.partition(":")
        if (llm := self._unreachable.get(provider_name)) is not None:
            return llm, model
        return super().resolve(route)


@asynccontextmanager
async def gateways(base_url: str) -> AsyncIterator[Gateways]:
    unreachable = {
        "refused": f"http://127.0.0.1:{free_port()}/v1",
        "tls": base_url.replace("http:", "https:"),
    }
    origins = frozenset(map(allowed_origin, (base_url, *unreachable.values())))
    prices = {f"{name}:*": PRICE for name in ("openai", *UNREACHABLE)}
    config = GatewayConfig("sk-test", base_url, prices=prices, dialects=read_dialects(DIALECTS))
    client = GuardedClient(allow_origins=origins)
    models = Gateways(config, client, unreachable)
    yield models
    await models.aclose()
    await client.aclose()


def begin_all() -> dict[UUID, Case]:
    """A conversation with one question for each case, by the ids of the turns."""
    begun = {}
    first = conversation()
    for number, case in enumerate(CASES):
        ada = conversation() if number else first
        ada.ask("[[offline]] What time is it?")
        begun[ada.turn().pk] = case
    return begun


async def run_all(cases: dict[UUID, Case], services: Services) -> None:
    contexts = await in_db_thread(
        lambda: [load_context(one) for one in claim(len(cases), running_per_user=len(cases), lease_seconds=600)]
    )
    assert len(contexts) == len(cases)
    at_once = asyncio.Semaphore(40)

    async def run(context: Any) -> None:
        chain = cases[context.claim.turn_id].chain
        release = replace(context.release, model_chain=chain, tools=("clock",))
        async with at_once:
            await TurnRun(replace(context, release=release), replace(services, retry_budget=RetryBudget())).run()

    await asyncio.gather(*map(run, contexts))


@dataclass
class Found:
    """What the database holds of a turn."""

    turn: Turn
    steps: list[Step]
    events: list[Event]
    answers: list[Message]


def read_all() -> dict[UUID, Found]:
    steps, events, answers = defaultdict(list), defaultdict(list), defaultdict(list)
    for step in Step.objects.order_by("number"):
        steps[step.turn_id].append(step)
    for event in Event.objects.exclude(turn=None).order_by("seq"):
        events[event.turn_id].append(event)
    for message in Message.objects.filter(author=Message.Author.AGENT):
        answers[message.turn_id].append(message)
    return {turn.pk: Found(turn, steps[turn.pk], events[turn.pk], answers[turn.pk]) for turn in Turn.objects.all()}


def faults_of(case: Case, found: Found) -> list[str]:
    """What is not as it should be."""
    wrong = []

    def expect(what: str, actual: object, expected: object) -> None:
        if actual != expected:
            wrong.append(f"{what}: {actual!r} instead of {expected!r}")

    model_steps = [step for step in found.steps if step.kind == "model"]
    ending = [event for event in found.events if event.type in TERMINAL_EVENTS]
    expect("calls", [(step.name, step.error_class) for step in model_steps], case.calls)
    expect("ends", len(ending), 1)
    expect("status", found.turn.status, "failed" if case.ends_with_it else "completed")
    expect("class", found.turn.error_class, str(case.fault.error_class) if case.ends_with_it else "")
    expect("open steps", [step for step in found.steps if step.status == "intent"], [])
    texts = ["".join(part["text"] for part in answer.parts if part["type"] == "text") for answer in found.answers]
    if case.ends_with_it:
        expect("partial", all(case.bad_words.startswith(text.rstrip()) for text in texts), True)
        expect("answers", (len(texts) <= 1, all(answer.partial for answer in found.answers)), (True, True))
    else:
        expect("answer", texts, [case.bad_words if case.fault.error_class is None else GOOD])
        expect("whole", [answer.partial for answer in found.answers], [False])
    shown: list[Part] = []
    for event in found.events:
        show_event(shown, event.type, event.data)
    expect("shown", shown, found.answers[0].parts if found.answers else [])
    expect_costs(case, model_steps, expect)
    data = ending[0].data
    expect("attempts", data["attempts"], len(case.calls))
    answered_by = None if case.ends_with_it else case.calls[-1][0]
    expect("answered by", data["answered_by"], answered_by)
    is_error = case.ends_with_it and case.fault.error_class is not _E.CONTENT_FILTER
    expect("fallback", data["fallback"], "error_response" if is_error else None)
    expect("column", found.turn.fallback, data["fallback"])
    return wrong


def expect_costs(case: Case, model_steps: list[Step], expect: Any) -> None:
    """What was refused costs nothing, what may have been worked on is never free, what was reported is billed."""
    for step in model_steps:
        if not step.error_class:
            known = case.fault.error_class is not None or step.name != case.chain[case.place]
            expect("cost of an answer is known", step.cost_usd is not None, known)
        elif step.error_class == "auth" or not case.fault.bills:
            expect("cost of a refusal", step.cost_usd, Decimal(0))
        else:
            expect("partial cost is known", step.cost_usd is not None and step.cost_usd > 0, case.fault.usage)


async def test_whatever_fails_there_is_one_answer_or_one_error(provider: Provider) -> None:  # noqa: F811
    async with gateways(provider.base_url) as models:
        services = replace(
            scripted(tools={"clock": works("noon")}, idempotent=frozenset({"clock"}))[0],
            models=models,
            policy=Policy(backoff=Backoff(base_seconds=0)),
        )
        cases = await in_db_thread(begin_all)
        await run_all(cases, services)
    found = await in_db_thread(read_all)
    wrong = [
        f"{case.name}, {case.manner}, route {case.place + 1}: {fault}"
        for turn_id, case in cases.items()
        for fault in faults_of(case, found[turn_id])
    ]
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong)
    assert provider.running == 0
