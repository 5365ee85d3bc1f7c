"""`manage.py deploy`: bring a release to the users of an agent, from CI or by hand."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from dataclasses import replace
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections

from accounts.actor import Actor
from accounts.models import User
from accounts.permissions import user_actor
from agents.deployments.deployment_changes import (
    begin_deployment,
    go_back,
    hold_deployment,
    promote_deployment,
    repeat_evaluation,
    resume_deployment,
)
from agents.domain.deployments import DEFAULT_PLAN, ENDED_DEPLOYMENTS, DeploymentPlan, DeploymentState, PlanStep
from agents.domain.serialization import moment
from agents.models import Agent, Deployment, TestSet
from foundation.db_threads import DATABASE_FAULTS
from foundation.errors import BandstandError

EXIT_WITHDRAWN: Final = 1
EXIT_TIMEOUT: Final = 2
POLL_SECONDS: Final = 1.0


class Command(BaseCommand):
    help = (
        "Bring a release to the users of an agent, step by step: `begin AGENT --release 7 --wait` exits with 0 when it "
        f"is done, {EXIT_WITHDRAWN} when it was withdrawn, {EXIT_TIMEOUT} when neither happened in time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", metavar="{show,begin,wait,promote,hold,resume,back,test}")
        show = actions.add_parser("show", help="the deployments of an agent, newest first (default: of all agents)")
        show.add_argument("agent", nargs="?")
        begin = actions.add_parser("begin", help="begin with a release, or with the draft")
        wait = actions.add_parser("wait", help="wait for the end of the one that is under way")
        promote = actions.add_parser("promote", help="move it on, without waiting for its time")
        hold = actions.add_parser("hold", help="keep it where it is")
        resume = actions.add_parser("resume", help="let it go on by itself")
        back = actions.add_parser("back", help="end it: the release before is live again")
        test = actions.add_parser("test", help="run its test set once more")
        for action in (begin, wait, promote, hold, resume, back, test):
            action.add_argument("agent", help="its short name")
        source = begin.add_mutually_exclusive_group(required=True)
        source.add_argument("--release", type=int, metavar="N")
        source.add_argument("--draft", action="store_true", help="the draft, as the next release")
        begin.add_argument("--plan", help="percent:seconds of each step, such as 5:600,25:600 (default)")
        begin.add_argument("--watch", type=int, metavar="SECONDS", help="how long it is watched at the end")
        begin.add_argument("--minimum-turns", type=int, help="with fewer of the candidate no step ends")
        begin.add_argument("--minimum-users", type=int)
        begin.add_argument("--test-set", help="by its name; --as pays")
        begin.add_argument("--note", default="")
        begin.add_argument("--hold", action="store_true", help="stay in staging; otherwise go on by itself")
        for action in (begin, promote, hold, resume, back, test):
            action.add_argument("--as", dest="user", help="the user who does it, with that user's rights")
        for action in (promote, back):
            action.add_argument("--reason", default="", required=action is back)
        for action in (begin, wait):
            action.add_argument("--timeout", type=float, default=86_400.0, metavar="SECONDS")
        begin.add_argument("--wait", action="store_true", help="until it has ended")
        for action in (show, begin, wait, promote, hold, resume, back, test):
            action.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            deployment = self._run(options)
        except BandstandError as error:
            pointer = f" ({error.pointer})" if getattr(error, "pointer", None) else ""
            raise CommandError(f"{error.detail}{pointer}") from None
        if deployment is not None:
            self._print([deployment], as_json=options["json"])
            if options["action"] == "wait" or options.get("wait"):
                self._wait(deployment, options["timeout"], as_json=options["json"])

    def _run(self, options: dict[str, Any]) -> Deployment | None:
        action = options["action"] or "show"
        if action == "show":
            rows = Deployment.objects.select_related("agent", "candidate", "baseline").order_by("-created_at")
            if options.get("agent"):
                rows = rows.filter(agent=_find_agent(options["agent"]))
            self._print(list(rows[:20]), as_json=bool(options.get("json")))
            return None
        agent = _find_agent(options["agent"])
        actor = _find_actor(options.get("user"))
        if action == "begin":
            return self._begin(actor, agent, options)
        deployment = _find_open(agent)
        key = deployment.pk
        match action:
            case "promote":
                promote_deployment(
                    actor, deployment_id=key, expected_version=deployment.version, reason=options["reason"]
                )
            case "hold":
                hold_deployment(actor, deployment_id=key)
            case "resume":
                resume_deployment(actor, deployment_id=key)
            case "back":
                go_back(actor, deployment_id=key, reason=options["reason"])
            case "test":
                repeat_evaluation(actor, deployment_id=key)
        return _read(deployment)

    def _begin(self, actor: Actor, agent: Agent, options: dict[str, Any]) -> Deployment:
        test_set = None
        if options["test_set"]:
            test_set = TestSet.objects.filter(agent=agent, name=options["test_set"]).first()
            if test_set is None:
                raise CommandError("This agent has no such test set.")
        deployment = begin_deployment(
            actor,
            agent_id=agent.pk,
            release_number=options["release"],
            plan=_read_plan(options),
            test_set_id=test_set.pk if test_set else None,
            note=options["note"],
        )
        if not options["hold"]:
            # From here on it goes by itself.
            promote_deployment(actor, deployment_id=deployment.pk, expected_version=deployment.version)
        return _read(deployment)

    def _wait(self, deployment: Deployment, timeout_seconds: float, *, as_json: bool) -> None:
        ends_at = time.monotonic() + timeout_seconds
        shown = _position(deployment)
        while deployment.state not in ENDED_DEPLOYMENTS:
            if time.monotonic() >= ends_at:
                self.stderr.write("It has not ended in time.")
                raise SystemExit(EXIT_TIMEOUT)
            time.sleep(POLL_SECONDS)
            try:
                deployment = _read(deployment)
            except DATABASE_FAULTS:
                close_old_connections()
                continue
            if _position(deployment) != shown:
                shown = _position(deployment)
                self._print([deployment], as_json=as_json)
        if deployment.state != DeploymentState.DONE:
            raise SystemExit(EXIT_WITHDRAWN)

    def _print(self, deployments: list[Deployment], *, as_json: bool) -> None:
        for deployment in deployments:
            self.stdout.write(json.dumps(_dump(deployment)) if as_json else _line(deployment))
        self.stdout.flush()


def _find_agent(slug: str) -> Agent:
    agent = Agent.objects.filter(slug=slug).first()
    if agent is None:
        raise CommandError("There is no such agent.")
    return agent


def _find_actor(name: str | None) -> Actor:
    if name is None:
        return Actor.system("deploy")
    user = User.objects.filter(username=name, is_active=True).first()
    if user is None:
        raise CommandError("There is no such user.")
    return user_actor(user)


def _find_open(agent: Agent) -> Deployment:
    if agent.deployment_id is None:
        raise CommandError("No deployment of this agent is under way.")
    return _read(Deployment(pk=agent.deployment_id))


def _read(deployment: Deployment) -> Deployment:
    return Deployment.objects.select_related("agent", "candidate", "baseline").get(pk=deployment.pk)


def _read_plan(options: dict[str, Any]) -> DeploymentPlan:
    plan = DEFAULT_PLAN
    if options["plan"]:
        try:
            pairs = [step.split(":") for step in options["plan"].split(",")]
            plan = replace(plan, steps=tuple(PlanStep(int(percent), int(seconds)) for percent, seconds in pairs))
        except ValueError:
            raise CommandError("A plan reads percent:seconds,percent:seconds, such as 5:600,25:600.") from None
    names = {"watch": "watch_seconds", "minimum_turns": "minimum_turns", "minimum_users": "minimum_users"}
    own = {column: options[name] for name, column in names.items() if options[name] is not None}
    # Parsed, so that the bounds hold.
    return DeploymentPlan.parse({**plan.dump(), **own})


def _position(deployment: Deployment) -> tuple[str, int, bool, str]:
    decision = deployment.verdict.get("decision", "")
    return deployment.state, deployment.step, deployment.held_at is not None, decision


def _line(deployment: Deployment) -> str:
    plan = DeploymentPlan.parse(deployment.plan)
    state = deployment.state.replace("_", " ")
    if deployment.state == DeploymentState.CANARY:
        state += f" {plan.steps[deployment.step].percent} %"
    if deployment.held_at is not None and deployment.state not in ENDED_DEPLOYMENTS:
        state += ", held"
    why = deployment.reason or deployment.verdict.get("sentence", "")
    line = f"{deployment.agent.slug}: release {deployment.candidate.number} over {deployment.baseline.number}: {state}"
    return f"{line}. {why}" if why else f"{line}."


def _dump(deployment: Deployment) -> dict[str, Any]:
    return {
        "id": str(deployment.pk),
        "agent": deployment.agent.slug,
        "release": deployment.candidate.number,
        "baseline": deployment.baseline.number,
        "state": deployment.state,
        "step": deployment.step,
        "held": deployment.held_at is not None,
        "plan": deployment.plan,
        "verdict": deployment.verdict,
        "reason": deployment.reason,
        "created_at": moment(deployment.created_at),
        "ended_at": moment(deployment.ended_at) if deployment.ended_at else None,
    }
