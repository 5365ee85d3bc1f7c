"""Deployments in the console: the list, the form that begins one, and the page from which one is steered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from accounts.models import AuditEntry
from accounts.permissions import user_actor
from agents.admin.deployment_charts import deployment_charts
from agents.admin.deployment_forms import BeginForm, ReasonForm, VersionForm
from agents.deployments.deployment_changes import (
    begin_deployment,
    go_back,
    hold_deployment,
    promote_deployment,
    repeat_evaluation,
    resume_deployment,
)
from agents.deployments.promotion_checks import find_problems, newest_evaluation
from agents.domain.deployments import (
    ENDED_DEPLOYMENTS,
    HOLD_BACK_PERCENT,
    SPLITTING,
    DeploymentPlan,
    DeploymentState,
    candidate_percent,
)
from agents.domain.evaluations import RunState
from agents.models import Agent, AgentDraft, Deployment
from agents.permissions.role_permissions import CHANGE_DRAFT, PUBLISH_AGENT
from agents.releases.publication_gate import may_override
from console.admin import ReadOnlyAdmin
from console.confirmation import confirmation_page, confirmed_data
from console.formatting import NOTHING, badge, format_duration, format_moment
from console.views import NamedRow, console_page, row_url
from foundation.clock import now
from foundation.durations import duration
from foundation.errors import BandstandError

S = DeploymentState
_LEVELS: Final = {S.DONE: "good", S.ROLLED_BACK: "bad", S.CANCELLED: "", S.LIVE: "good", S.WATCHING: "good"}
_HISTORY: Final = 50
_WORDS: Final = {
    "deployment.begun": "begun",
    "deployment.promoted": "moved on",
    "deployment.held": "held",
    "deployment.resumed": "goes on by itself again",
    "deployment.rolled_back": "rolled back",
    "deployment.cancelled": "cancelled",
}
_PROMOTE: Final = {
    S.DRAFT: "Begin staging",
    S.STAGING: "Begin validation",
    S.VALIDATING: "Begin canary",
    S.CANARY: "Next step",
    S.LIVE: "Begin watching",
    S.WATCHING: "Finish now",
}


@admin.register(Deployment)
class DeploymentAdmin(ReadOnlyAdmin):
    """Deployments, newest first; the page of one steers it."""

    query_budget = 8

    list_display = ("display_name", "display_state", "why", "created", "display_duration")
    list_display_links = ("display_name",)
    list_select_related = ("agent", "candidate", "baseline")
    list_filter = ("agent", "state")
    ordering = ("-created_at", "-id")
    list_empty_words = "Nothing was deployed step by step yet. Begin on the page of an agent."
    search_help_text = "The id of a deployment."

    @admin.display(description="deployment")
    def display_name(self, deployment: Deployment) -> str:
        return _name(deployment)

    @admin.display(description="state")
    def display_state(self, deployment: Deployment) -> SafeString:
        return _state(deployment)

    @admin.display(description="why")
    def why(self, deployment: Deployment) -> str:
        return deployment.reason or str(deployment.verdict.get("sentence", "")) or NOTHING

    @admin.display(description="begun (UTC)")
    def created(self, deployment: Deployment) -> str:
        return format_moment(deployment.created_at)

    @admin.display(description="duration")
    def display_duration(self, deployment: Deployment) -> str:
        return format_duration(deployment.created_at, deployment.ended_at or now())

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        row = "<uuid:object_id>"
        moves = {"promote": self.promote, "hold": self.hold, "resume": self.resume, "back": self.back}
        return [
            path("begin/<uuid:agent_id>/", view(self.begin), name="agents_deployment_begin"),
            *(path(f"{row}/{name}/", view(move), name=f"agents_deployment_{name}") for name, move in moves.items()),
            path(f"{row}/test/", view(self.test), name="agents_deployment_test"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        deployment = self._find(request, object_id)
        if request.method == "POST" or deployment is None:
            return super().change_view(request, object_id, form_url, extra_context)
        return console_page(
            request,
            self,
            "console/deployment.html",
            title=_name(deployment),
            opts=self.opts,
            original=NamedRow(deployment, _name(deployment)),
            deployment=deployment,
            **_page_context(request, deployment),
        )

    def begin(self, request: HttpRequest, agent_id: UUID) -> HttpResponse:
        """The form that begins one for an agent."""
        if not request.user.has_perm(PUBLISH_AGENT):
            raise PermissionDenied
        agent = Agent.objects.select_related("live_release").filter(pk=agent_id).first()
        draft = AgentDraft.objects.filter(agent_id=agent_id).first()
        if agent is None or draft is None:
            raise Http404
        if agent.deployment_id is not None:
            messages.info(request, "A deployment of this agent is under way.")
            return HttpResponseRedirect(reverse("admin:agents_deployment_change", args=[agent.deployment_id]))
        release = request.GET.get("release", "")
        form = BeginForm(confirmed_data(request), agent=agent, draft_version=draft.version, release=release)
        message = (
            "Builders try it first, then its checks and its test set run, then a growing share of the users meets it "
            "in new conversations. What does worse than the live release is withdrawn by itself."
        )

        def ask() -> HttpResponse | None:
            return confirmation_page(
                request,
                self,
                title=f"Deploy {agent}",
                message=message,
                yes="Begin",
                back=row_url(agent),
                form=form,
            )

        if (page := ask()) is not None:
            return page
        data = form.cleaned_data
        try:
            deployment = begin_deployment(
                user_actor(request.user),
                agent_id=agent.pk,
                expected_version=None if data["release"] else data["draft_version"],
                release_number=int(data["release"]) if data["release"] else None,
                plan=data["plan"],
                test_set_id=UUID(data["test_set"]) if data["test_set"] else None,
                note=data["note"],
            )
        except BandstandError as error:
            form.add_error(None, error.detail)
            return ask() or HttpResponseRedirect(row_url(agent))
        messages.success(request, "It is in staging: talk to it, then begin its validation.")
        return HttpResponseRedirect(row_url(deployment))

    def promote(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Move it on."""
        deployment = self._require(request, object_id)
        state = DeploymentState(deployment.state)
        if state in ENDED_DEPLOYMENTS:
            messages.info(request, "This deployment has ended.")
            return HttpResponseRedirect(row_url(deployment))
        problems = find_problems(deployment) if state is S.VALIDATING else []
        needs_reason = bool(problems) and may_override(user_actor(request.user))
        form = (ReasonForm if needs_reason else VersionForm)(
            confirmed_data(request), initial={"version": deployment.version}
        )
        return self._move(
            request,
            deployment,
            title=f"{_PROMOTE[state]}: {_name(deployment)}",
            message=_describe_promotion(deployment),
            yes=_PROMOTE[state],
            form=form,
            rows=[f"{problem.name}: {problem.message}" for problem in problems],
            move=lambda data: promote_deployment(
                user_actor(request.user),
                deployment_id=deployment.pk,
                expected_version=data["version"],
                reason=data.get("reason", ""),
            ),
            success="It has moved on.",
        )

    def hold(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Keep it where it is."""
        deployment = self._require(request, object_id)
        return self._move(
            request,
            deployment,
            title=f"Hold {_name(deployment)}?",
            message="It stays where it is until you let it go on. If it does worse than the live release it is "
            "withdrawn all the same.",
            yes="Hold",
            form=VersionForm(confirmed_data(request), initial={"version": deployment.version}),
            move=lambda data: hold_deployment(
                user_actor(request.user), deployment_id=deployment.pk, expected_version=data["version"]
            ),
            success="It is held.",
        )

    def resume(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Let it go on."""
        deployment = self._require(request, object_id)
        return self._move(
            request,
            deployment,
            title=f"Let {_name(deployment)} go on?",
            message="It goes on by itself when its time is over and nothing speaks against it.",
            yes="Let it go on",
            form=VersionForm(confirmed_data(request), initial={"version": deployment.version}),
            move=lambda data: resume_deployment(
                user_actor(request.user), deployment_id=deployment.pk, expected_version=data["version"]
            ),
            success="It goes on by itself.",
        )

    def back(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """End it; what was live before is again."""
        deployment = self._require(request, object_id)
        number, baseline = deployment.candidate.number, deployment.baseline.number
        return self._move(
            request,
            deployment,
            title=f"Go back to release {baseline}?",
            message=f"From now on every new answer comes from release {baseline}, also in conversations that began on "
            f"release {number}; these move to it. Answers that are being written are finished.",
            yes="Go back",
            danger=True,
            form=ReasonForm(confirmed_data(request), initial={"version": deployment.version}),
            # Whatever it has become meanwhile: going back must not wait.
            move=lambda data: go_back(user_actor(request.user), deployment_id=deployment.pk, reason=data["reason"]),
            success=f"Release {baseline} answers.",
        )

    def test(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Run its test set once more."""
        deployment = self._require(request, object_id)
        return self._move(
            request,
            deployment,
            title="Run the test set again?",
            message="Whoever began the deployment pays for it.",
            yes="Run it",
            form=VersionForm(confirmed_data(request), initial={"version": deployment.version}),
            move=lambda _: repeat_evaluation(user_actor(request.user), deployment_id=deployment.pk),
            success="It runs.",
        )

    def _move(
        self,
        request: HttpRequest,
        deployment: Deployment,
        *,
        move: Callable[[dict[str, Any]], object],
        form: Any,
        success: str,
        title: str,
        message: str,
        yes: str,
        danger: bool = False,
        rows: Sequence[str] = (),
    ) -> HttpResponse:
        confirmation = confirmation_page(
            request,
            self,
            title=title,
            message=message,
            yes=yes,
            back=row_url(deployment),
            form=form,
            rows=rows,
            danger=danger,
        )
        if confirmation is not None:
            return confirmation
        try:
            move(form.cleaned_data)
        except BandstandError as error:
            messages.error(request, f"Nothing was changed. {error.detail}")
        else:
            messages.success(request, success)
        return HttpResponseRedirect(row_url(deployment))

    def _find(self, request: HttpRequest, object_id: str) -> Deployment | None:
        deployment: Deployment | None = self.get_object(request, object_id)
        return deployment if deployment is not None and self.has_view_permission(request, deployment) else None

    def _require(self, request: HttpRequest, object_id: UUID) -> Deployment:
        deployment = self._find(request, str(object_id))
        if deployment is None:
            raise Http404
        if not request.user.has_perm(PUBLISH_AGENT):
            raise PermissionDenied
        return deployment


def _name(deployment: Deployment) -> str:
    return f"{deployment.agent}: release {deployment.candidate.number}"


def _state(deployment: Deployment) -> SafeString:
    state = DeploymentState(deployment.state)
    label = state.value.replace("_", " ")
    if state is S.CANARY:
        label += f" {_percent(deployment)} %"
    if deployment.held_at is not None and state not in ENDED_DEPLOYMENTS:
        return badge(f"{label}, held", "warn")
    return badge(label, _LEVELS.get(state, "warn" if state in SPLITTING else ""))


def _percent(deployment: Deployment) -> int:
    plan = DeploymentPlan.parse(deployment.plan)
    return candidate_percent(DeploymentState(deployment.state), plan, deployment.step)


def _describe_promotion(deployment: Deployment) -> str:
    plan = DeploymentPlan.parse(deployment.plan)
    number, baseline = deployment.candidate.number, deployment.baseline.number
    match DeploymentState(deployment.state):
        case S.STAGING:
            return "Its readiness checks and its test set run. When all have passed, it goes on by itself."
        case S.VALIDATING:
            return f"{plan.steps[0].percent} % of the users meet release {number} in new conversations."
        case S.CANARY if deployment.step + 1 < len(plan.steps):
            return f"{plan.steps[deployment.step + 1].percent} % of the users meet release {number} from now on."
        case S.CANARY:
            return (
                f"Release {number} becomes the live one; {HOLD_BACK_PERCENT} % of the users stay on release {baseline} "
                "until the end, to compare."
            )
        case S.WATCHING:
            return f"Everybody gets release {number}. After that going back is a new deployment."
        case _:
            return "It moves on."


def _page_context(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    state = DeploymentState(deployment.state)
    has_ended = state in ENDED_DEPLOYMENTS
    may_move = request.user.has_perm(PUBLISH_AGENT) and not has_ended
    evaluation = newest_evaluation(deployment)
    return {
        "badge": _state(deployment),
        "sentence": deployment.reason or deployment.verdict.get("sentence", ""),
        "is_bad": state is S.ROLLED_BACK,
        "steps": _steps(deployment),
        "facts": _facts(deployment),
        "charts": deployment_charts(deployment),
        "evaluation": evaluation,
        "history": _history(deployment),
        "may_move": may_move,
        "promote_label": _PROMOTE.get(state, ""),
        "may_hold": may_move and deployment.held_at is None and state in (S.VALIDATING, *SPLITTING),
        "may_resume": may_move and deployment.held_at is not None,
        "may_test": may_move
        and state is S.VALIDATING
        and deployment.test_set_id is not None
        and (evaluation is None or evaluation.state != RunState.RUNNING),
        "may_talk": not has_ended and request.user.has_perm(CHANGE_DRAFT),
    }


def _facts(deployment: Deployment) -> list[tuple[str, Any]]:
    reference = deployment.reference
    facts: list[tuple[str, Any]] = [
        ("Compared with", f"release {deployment.baseline.number}"),
        ("Begun (UTC)", format_moment(deployment.created_at)),
        ("By", deployment.created_by or "the platform"),
    ]
    if deployment.state in SPLITTING:
        facts.append(("Users who get it", f"{_percent(deployment)} %"))
    if reference.get("slow_seconds") is not None:
        facts.append(("Slow is a first word after", f"{reference['slow_seconds']:.1f} s"))
    if reference.get("dear_usd") is not None:
        facts.append(("Dear is an answer above", f"${reference['dear_usd']:.4f}"))
    if deployment.ended_at is not None:
        facts.append(("Ended (UTC)", format_moment(deployment.ended_at)))
    return facts


def _steps(deployment: Deployment) -> list[dict[str, Any]]:
    """The way that it goes, with what is behind it, and where it stands."""
    plan = DeploymentPlan.parse(deployment.plan)
    way: list[tuple[tuple[DeploymentState, int], str, str]] = [
        ((S.STAGING, 0), "Staging", "builders try it"),
        ((S.VALIDATING, 0), "Validation", "checks and test set"),
        *(
            ((S.CANARY, index), f"{step.percent} % of the users", duration(step.seconds))
            for index, step in enumerate(plan.steps)
        ),
        ((S.LIVE, 0), "Live", f"all but {HOLD_BACK_PERCENT} %"),
        ((S.WATCHING, 0), "Watched", duration(plan.watch_seconds)),
        ((S.DONE, 0), "Done", "everybody"),
    ]
    state = DeploymentState(deployment.state)
    here = (state, deployment.step if state is S.CANARY else 0)
    position = next((index for index, (place, _, _) in enumerate(way) if place == here), None)
    return [
        {
            "label": label,
            "detail": detail,
            "is_here": index == position,
            "is_behind": position is not None and (index < position or state is S.DONE),
        }
        for index, (_, label, detail) in enumerate(way)
    ]


def _history(deployment: Deployment) -> list[dict[str, Any]]:
    entries = AuditEntry.objects.filter(target_type="deployment", target_id=str(deployment.pk)).order_by("-pk")
    rows = []
    for entry in entries[:_HISTORY]:
        words = _WORDS.get(entry.action, entry.action)
        if entry.action == "deployment.promoted":
            words = f"to {str(entry.detail.get('state', '')).replace('_', ' ')}"
            if entry.detail.get("step"):
                words += f", step {entry.detail['step'] + 1}"
        rows.append(
            {"at": format_moment(entry.at), "words": words, "by": _by(entry), "reason": entry.detail.get("reason", "")}
        )
    return rows


def _by(entry: AuditEntry) -> str:
    return "by itself" if entry.actor == "system:deployments" else entry.actor
