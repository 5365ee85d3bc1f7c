"""Evaluations in the console: the list of runs, the report of one, and an entry side by side."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from accounts.permissions import user_actor
from agents.domain.evaluations import Lane, ResultStatus, RunState
from agents.domain.message_parts import plain_text
from agents.domain.word_diff import diff_words
from agents.evaluations.evaluation_runs import repeat_run, stop_run
from agents.models import EvaluationResult, EvaluationRun
from agents.permissions.role_permissions import CHANGE_TEST_SET
from agents.permissions.transcripts import can_read_transcript
from console.admin import ReadOnlyAdmin
from console.confirmation import confirmation_page
from console.formatting import NOTHING, badge, format_duration, format_moment, format_money, format_percent
from console.views import NamedRow, console_page, row_url
from foundation.clock import now
from foundation.errors import BandstandError
from foundation.graphemes import cut_text

_SHOWN: Final = 120
_SHOWN_ENTRIES: Final = 300
_LEVELS: Final = {RunState.RUNNING: "", RunState.STOPPED: "warn", RunState.FAILED: "bad"}
# What the list of entries shows, by the parameter `show`.
_FILTERS: Final[dict[str, tuple[str, Q]]] = {
    "worse": (
        "Fails",
        Q(lane=Lane.CANDIDATE)
        & (Q(passed=False) | Q(status__in=[ResultStatus.FAILED.value, ResultStatus.DIVERGED.value])),
    ),
    "differs": ("Differs", Q(lane=Lane.CANDIDATE, differs=True)),
    "diverged": ("Diverged", Q(status=ResultStatus.DIVERGED)),
    "all": ("All", Q()),
}


@admin.register(EvaluationRun)
class EvaluationRunAdmin(ReadOnlyAdmin):
    """Runs, newest first, with a page of their report."""

    query_budget = 8

    list_display = ("created", "display_set", "releases", "display_state", "result", "display_cost")
    list_select_related = ("test_set", "candidate", "baseline", "agent")
    list_filter = ("agent", "state", "test_set")
    ordering = ("-created_at", "-id")
    list_empty_words = "No release was run against a test set yet."
    search_help_text = "The id of a run."

    @admin.display(description="begun (UTC)")
    def created(self, run: EvaluationRun) -> str:
        return format_moment(run.created_at)

    @admin.display(description="test set")
    def display_set(self, run: EvaluationRun) -> str:
        return f"{run.agent}: {run.test_set}"

    @admin.display(description="releases")
    def releases(self, run: EvaluationRun) -> str:
        return f"{run.candidate.number} against {run.baseline.number}"

    @admin.display(description="state")
    def display_state(self, run: EvaluationRun) -> SafeString:
        return _state(run)

    @admin.display(description="result")
    def result(self, run: EvaluationRun) -> str:
        return run.report.get("sentence") or run.reason or NOTHING

    @admin.display(description="cost")
    def display_cost(self, run: EvaluationRun) -> str:
        return format_money(run.cost_usd)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        row = "<uuid:object_id>"
        return [
            path(f"{row}/stop/", view(self.stop), name="agents_evaluationrun_stop"),
            path(f"{row}/repeat/", view(self.repeat), name="agents_evaluationrun_repeat"),
            path(f"{row}/entries/<uuid:case_id>/", view(self.entry), name="agents_evaluationrun_entry"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        run = self.get_object(request, object_id)
        if request.method == "POST" or run is None or not self.has_view_permission(request, run):
            return super().change_view(request, object_id, form_url, extra_context)
        may_read = can_read_transcript(request.user, run.agent)
        may_change = request.user.has_perm(CHANGE_TEST_SET)
        show = request.GET.get("show", "")
        show = show if show in _FILTERS else "worse" if run.report.get("worse") else "all"
        return console_page(
            request,
            self,
            "console/evaluation_run.html",
            title=(name := _name(run)),
            opts=self.opts,
            original=NamedRow(run, name),
            run=run,
            badge=_state(run),
            sentence=run.report.get("sentence") or run.reason,
            is_bad=run.report.get("passed") is False,
            facts=_facts(run),
            may_read=may_read,
            may_stop=may_change and run.state == RunState.RUNNING,
            may_repeat=may_change and run.state != RunState.RUNNING and run.deployment_id is None,
            filters=[(key, label, key == show) for key, (label, _) in _FILTERS.items()],
            entries=_entries(run, show) if may_read else [],
        )

    def entry(self, request: HttpRequest, object_id: UUID, case_id: UUID) -> HttpResponse:
        """One entry: recorded, stable again, candidate, side by side."""
        run = self.get_object(request, str(object_id))
        if run is None or not self.has_view_permission(request, run):
            raise Http404
        # Of this run's set: who may read this agent's conversations may not read those of others.
        case = run.test_set.cases.filter(pk=case_id).first()
        if case is None:
            raise Http404
        if not can_read_transcript(request.user, run.agent):
            raise PermissionDenied
        recorded = plain_text(case.answer)
        results = {result.lane: result for result in run.results.filter(case=case)}
        lanes = []
        for lane, title in (
            (Lane.BASELINE, f"Release {run.baseline.number} again"),
            (Lane.CANDIDATE, f"Release {run.candidate.number}"),
        ):
            result = results.get(lane.value)
            if result is not None:
                answer = plain_text(result.answer or [])
                diff = diff_words(recorded, answer)
                lanes.append({"title": title, "row": result, "diff": diff, "facts": _took(result)})
        name = f"{_name(run)}, entry {case.position}"
        return console_page(
            request,
            self,
            "console/evaluation_entry.html",
            title=name,
            opts=self.opts,
            original=NamedRow(run, _name(run)),
            run=run,
            case=case,
            question=plain_text(case.question),
            recorded=recorded,
            lanes=lanes,
        )

    def stop(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Stop a run."""
        run = self._require(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title="Stop this run?",
            message="What is done stays in the report; answers that are being written are cancelled.",
            yes="Stop",
            back=row_url(run),
            danger=True,
        )
        if confirmation is not None:
            return confirmation
        try:
            stop_run(user_actor(request.user), run_id=run.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
        return HttpResponseRedirect(row_url(run))

    def repeat(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Begin the same run anew."""
        run = self._require(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title="Run it again?",
            message="The same releases against the test set as it is now. You pay for the models.",
            yes="Run it again",
            back=row_url(run),
        )
        if confirmation is not None:
            return confirmation
        try:
            run = repeat_run(user_actor(request.user), run_id=run.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
        return HttpResponseRedirect(row_url(run))

    def _require(self, request: HttpRequest, object_id: UUID) -> EvaluationRun:
        run: EvaluationRun | None = self.get_object(request, str(object_id))
        if run is None or not self.has_view_permission(request, run):
            raise Http404
        if not request.user.has_perm(CHANGE_TEST_SET):
            raise PermissionDenied
        return run


def _name(run: EvaluationRun) -> str:
    return f"{run.test_set}: release {run.candidate.number} against {run.baseline.number}"


def _state(run: EvaluationRun) -> SafeString:
    if run.state == RunState.DONE:
        return badge("passed", "good") if run.report.get("passed") else badge("failed", "bad")
    return badge(run.state, _LEVELS.get(RunState(run.state), ""))


def _facts(run: EvaluationRun) -> list[tuple[str, Any]]:
    ended = run.results.exclude(status__in=[ResultStatus.PENDING, ResultStatus.RUNNING]).count()
    facts: list[tuple[str, Any]] = [
        ("Begun (UTC)", format_moment(run.created_at)),
        ("Duration", format_duration(run.created_at, run.ended_at or now())),
        ("Answers", f"{ended:,} of {run.results.count():,}"),
        ("Cost", f"{format_money(run.cost_usd)} of {format_money(run.max_cost_usd)}"),
        ("Paid by", run.paid_by),
    ]
    if run.state == RunState.DONE:
        report = run.report
        beyond = "more than noise" if report["differs_beyond_noise"] else "no more than noise"
        facts += [
            ("Differ when asked again", format_percent(report["noise"])),
            ("What else differs is", beyond),
            ("Diverged", f"{report['lanes']['candidate']['diverged']:,}"),
        ]
    return facts


def _entries(run: EvaluationRun, show: str) -> list[dict[str, Any]]:
    matching = run.results.filter(_FILTERS[show][1]).values("case_id")
    results: QuerySet[EvaluationResult] = run.results.filter(case_id__in=matching).select_related("case")
    rows: dict[Any, dict[str, Any]] = {}
    for result in results.order_by("case__position", "lane")[: 2 * _SHOWN_ENTRIES]:
        row = rows.setdefault(
            result.case_id,
            {"case": result.case, "question": cut_text(plain_text(result.case.question), _SHOWN), "lanes": {}},
        )
        row["lanes"][result.lane] = _outcome(result)
    return [{**row, **{lane.value: row["lanes"].get(lane, NOTHING) for lane in Lane}} for row in rows.values()]


def _outcome(result: EvaluationResult) -> SafeString:
    if result.status != ResultStatus.DONE:
        return badge(result.status, "bad" if result.status in (ResultStatus.FAILED, ResultStatus.DIVERGED) else "")
    if result.passed is False:
        return badge("fails", "bad")
    if result.differs:
        return badge("differs", "warn")
    return badge("passed" if result.passed else "the same", "good")


def _took(result: EvaluationResult) -> str:
    seconds = f"{result.seconds:.1f} s" if result.seconds is not None else NOTHING
    return f"{seconds}, {format_money(result.cost_usd)}"
