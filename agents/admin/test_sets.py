"""Test sets in the console: the list, a set with its entries and what is expected of them, turns that become some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from accounts.permissions import user_actor
from agents.admin.test_set_forms import (
    AddTurnsForm,
    ChecksForm,
    EntryForm,
    EvaluationRunForm,
    NewTestSetForm,
    TestSetForm,
)
from agents.domain.answer_checks import parse_checks
from agents.domain.message_parts import plain_text
from agents.evaluations.evaluation_runs import begin_run
from agents.evaluations.test_sets import (
    MAX_ENTRIES,
    add_turns,
    change_case,
    change_test_set,
    create_test_set,
    delete_test_set,
    remove_cases,
)
from agents.models import Agent, Release, TestCase, TestSet, Turn
from agents.permissions.role_permissions import CHANGE_TEST_SET
from agents.permissions.transcripts import can_read_transcript
from console.admin import ReadOnlyAdmin
from console.confirmation import confirmation_page, confirmed_data
from console.formatting import format_money
from console.views import NamedRow, console_page, row_url
from foundation.errors import BandstandError, InvalidInput
from foundation.graphemes import cut_text

_SHOWN: Final = 200
_SHOWN_ENTRIES: Final = 200


@admin.register(TestSet)
class TestSetAdmin(ReadOnlyAdmin):
    """Test sets; the page of one is its form, with its entries."""

    __test__ = False

    query_budget = 8

    list_display = ("name", "agent", "entries", "display_cost", "created_at")
    list_select_related = ("agent",)
    list_filter = ("agent",)
    ordering = ("agent__name", "name")
    list_empty_words = "There is no test set. Choose turns in their list, and add them to one."
    search_words = ("name",)
    search_help_text = "The id of a test set, or its name."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(entry_count=Count("cases"))
        return rows

    @admin.display(description="entries")
    def entries(self, test_set: Any) -> str:
        return f"{test_set.entry_count:,}"

    @admin.display(description="a run may cost")
    def display_cost(self, test_set: TestSet) -> str:
        return format_money(test_set.max_cost_usd)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(CHANGE_TEST_SET)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        row = "<uuid:object_id>"
        return [
            path("add/", view(self.add), name="agents_testset_add"),
            path("entries/<uuid:case_id>/", view(self.entry), name="agents_testcase_change"),
            path("entries/<uuid:case_id>/remove/", view(self.remove_entry), name="agents_testcase_remove"),
            path(f"{row}/run/", view(self.run), name="agents_testset_run"),
            path(f"{row}/delete-set/", view(self.delete_set), name="agents_testset_delete_set"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        test_set = self.get_object(request, object_id)
        if test_set is None:
            return self.redirect_missing(request, object_id)
        if not self.has_view_permission(request, test_set):
            raise PermissionDenied
        may_change = request.user.has_perm(CHANGE_TEST_SET)
        if request.method == "POST" and not may_change:
            raise PermissionDenied
        form = TestSetForm(request.POST if request.method == "POST" else None, test_set=test_set)
        if form.is_bound and form.is_valid():
            try:
                change_test_set(
                    user_actor(request.user),
                    test_set_id=test_set.pk,
                    expected_version=form.cleaned_data["version"] or 0,
                    values=form.values,
                )
            except BandstandError as error:
                _show_error(form, error)
            else:
                messages.success(request, "The test set is saved.")
                return HttpResponseRedirect(row_url(test_set))
        may_read = can_read_transcript(request.user, test_set.agent)
        return console_page(
            request,
            self,
            "console/test_set.html",
            title=test_set.name,
            opts=self.opts,
            original=NamedRow(test_set, test_set.name),
            test_set=test_set,
            form=form,
            may_change=may_change,
            may_read=may_read,
            entries=_entries(test_set) if may_read else [],
            entry_count=test_set.entry_count,
            runs=test_set.runs.select_related("candidate", "baseline").order_by("-created_at")[:5],
        )

    def add(self, request: HttpRequest) -> HttpResponse:
        """The form of a new set."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = NewTestSetForm(request.POST if request.method == "POST" else None)
        if form.is_bound and form.is_valid():
            try:
                values = form.values
                test_set = create_test_set(
                    user_actor(request.user),
                    agent_id=form.cleaned_data["agent"].pk,
                    name=values.pop("name"),
                    values=values,
                )
            except BandstandError as error:
                _show_error(form, error)
            else:
                messages.success(request, "It has no entry yet: choose turns in their list, and add them.")
                return HttpResponseRedirect(row_url(test_set))
        return console_page(
            request, self, "console/test_set.html", title="Add test set", form=form, may_change=True, is_new=True
        )

    def entry(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        """An entry with what is expected of it."""
        case = self._require_case(request, case_id)
        may_change = request.user.has_perm(CHANGE_TEST_SET)
        if request.method == "POST" and not may_change:
            raise PermissionDenied
        form = EntryForm(
            request.POST if request.method == "POST" else None, checks=case.checks, initial={"rubric": case.rubric}
        )
        if form.is_bound and form.is_valid():
            try:
                change_case(
                    user_actor(request.user), case_id=case.pk, checks=form.checks, rubric=form.cleaned_data["rubric"]
                )
            except BandstandError as error:
                _show_error(form, error)
            else:
                messages.success(request, f"Entry {case.position} is saved.")
                return HttpResponseRedirect(row_url(case.test_set))
        return console_page(
            request,
            self,
            "console/test_case.html",
            title=f"{case.test_set.name}: entry {case.position}",
            opts=self.opts,
            original=NamedRow(case.test_set, case.test_set.name),
            case=case,
            form=form,
            may_change=may_change,
            history=[(message["author"], plain_text(message["parts"])) for message in case.history],
            question=plain_text(case.question),
            answer=plain_text(case.answer),
            calls=case.recording.get("calls", ()),
            missing=case.recording.get("missing", ()),
        )

    def remove_entry(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        """Remove one entry."""
        case = self._require_case(request, case_id)
        if not request.user.has_perm(CHANGE_TEST_SET):
            raise PermissionDenied
        confirmation = confirmation_page(
            request,
            self,
            title=f"Remove entry {case.position}?",
            message="What runs found of it goes with it. The conversation that it was made from stays.",
            yes="Remove",
            back=reverse("admin:agents_testcase_change", args=[case.pk]),
            danger=True,
        )
        if confirmation is not None:
            return confirmation
        try:
            remove_cases(user_actor(request.user), test_set_id=case.test_set_id, case_ids=[case.pk])
        except BandstandError as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, f"Entry {case.position} is removed.")
        return HttpResponseRedirect(row_url(case.test_set))

    def run(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Run the newest release, or another one, against the set."""
        test_set = self.get_object(request, str(object_id))
        if test_set is None:
            raise Http404
        if not request.user.has_perm(CHANGE_TEST_SET):
            raise PermissionDenied
        agent = Agent.objects.select_related("live_release").get(pk=test_set.agent_id)
        form = EvaluationRunForm(confirmed_data(request), agent=agent)
        confirmation = confirmation_page(
            request,
            self,
            title=f"Run {test_set.name}",
            message="Each entry is answered twice: by the live release again, which shows what is noise, and by the "
            "candidate. Tools are not called: their recorded results are the world. You pay for the models.",
            yes="Run it",
            back=row_url(test_set),
            form=form,
            facts=[("Entries", f"{test_set.entry_count:,}"), ("It stops at", format_money(test_set.max_cost_usd))],
        )
        if confirmation is not None:
            return confirmation
        try:
            candidate = agent.releases.get(number=form.cleaned_data["release"])
            run = begin_run(
                user_actor(request.user),
                test_set_id=test_set.pk,
                candidate=candidate,
                baseline=agent.live_release or candidate,
                paid_by=request.user.pk or 0,
            )
        except (BandstandError, Release.DoesNotExist) as error:
            messages.error(request, getattr(error, "detail", "There is no such release."))
            return HttpResponseRedirect(row_url(test_set))
        return HttpResponseRedirect(row_url(run))

    def delete_set(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Delete a set with its entries and runs."""
        test_set = self.get_object(request, str(object_id))
        if test_set is None:
            raise Http404
        if not request.user.has_perm(CHANGE_TEST_SET):
            raise PermissionDenied
        confirmation = confirmation_page(
            request,
            self,
            title=f"Delete {test_set.name}?",
            message="Its entries and the reports of its runs go with it. The conversations stay.",
            yes="Delete",
            back=row_url(test_set),
            danger=True,
        )
        if confirmation is not None:
            return confirmation
        try:
            delete_test_set(user_actor(request.user), test_set_id=test_set.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(row_url(test_set))
        messages.success(request, "The test set is deleted.")
        return HttpResponseRedirect(reverse("admin:agents_testset_changelist"))

    def _require_case(self, request: HttpRequest, case_id: UUID) -> TestCase:
        case = TestCase.objects.select_related("test_set__agent").filter(pk=case_id).first()
        if case is None or not self.has_view_permission(request):
            raise Http404
        if not can_read_transcript(request.user, case.test_set.agent):
            raise PermissionDenied
        return case


def add_turns_page(request: HttpRequest, model_admin: Any, turns: QuerySet[Turn]) -> HttpResponse | None:
    """The action of a list of turns: the page that asks which set they go into; once confirmed, they are added."""
    if not request.user.has_perm(CHANGE_TEST_SET):
        raise PermissionDenied
    back = reverse("admin:agents_turn_changelist")
    rows = list(turns.order_by("pk").values_list("pk", "agent_session__agent_id")[: MAX_ENTRIES + 1])
    agents = {agent for _, agent in rows}
    if len(agents) != 1 or len(rows) > MAX_ENTRIES:
        words = f"Choose turns of one agent, {MAX_ENTRIES:,} at most."
        messages.error(request, words)
        return HttpResponseRedirect(back)
    agent = Agent.objects.get(pk=agents.pop())
    form = AddTurnsForm(confirmed_data(request), agent=agent)
    confirmation = confirmation_page(
        request,
        model_admin,
        title=f"Add {len(rows):,} turns to a test set",
        message="Each becomes an entry: the question, what was said before, the answer, and what its tools returned. "
        "It is a copy that stays when the conversation goes; it goes when its user's account is erased.",
        yes="Add",
        back=back,
        form=form,
    )
    if confirmation is not None:
        return confirmation
    actor, data = user_actor(request.user), form.cleaned_data
    try:
        key = UUID(data["test_set"]) if data["test_set"] else None
        if key is None:
            key = create_test_set(actor, agent_id=agent.pk, name=data["new_name"]).pk
        result = add_turns(actor, test_set_id=key, turn_ids=[turn for turn, _ in rows])
    except BandstandError as error:
        messages.error(request, error.detail)
        return HttpResponseRedirect(back)
    messages.success(request, f"{result.added:,} entries were added.")
    for reason, count in result.refused.most_common(5):
        messages.warning(request, f"{count:,} were not: {reason}")
    return HttpResponseRedirect(reverse("admin:agents_testset_change", args=[key]))


def _entries(test_set: TestSet) -> list[dict[str, Any]]:
    return [
        {
            "row": case,
            "question": cut_text(plain_text(case.question), _SHOWN),
            "answer": cut_text(plain_text(case.answer), _SHOWN),
            "expected": _expected(case),
        }
        for case in test_set.cases.order_by("position")[:_SHOWN_ENTRIES]
    ]


def _expected(case: TestCase) -> Sequence[str]:
    try:
        labels = [check.label for check in parse_checks(case.checks)]
    except InvalidInput:
        labels = ["checks that cannot be read"]
    return [*labels, *(["its own rubric"] if case.rubric else [])]


def _show_error(form: ChecksForm, error: BandstandError) -> None:
    """Put an error where it belongs: at a field, at a check, or above the form."""
    pointer = (getattr(error, "pointer", None) or "").strip("/").split("/")
    names = {"judge_chain": "judges"}
    if pointer[0] == "checks" and len(pointer) > 1 and pointer[1].isdecimal():
        filled = [number for number in form.check_numbers if form.cleaned_data.get(f"kind_{number}")]
        index = int(pointer[1])
        form.add_error(f"value_{filled[index]}" if index < len(filled) else None, error.detail)
        return
    name = names.get(pointer[0], pointer[0])
    form.add_error(name if name in form.fields else None, error.detail)
