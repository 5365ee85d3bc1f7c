"""The base classes of all admins: `ConsoleAdmin`, and `ReadOnlyAdmin` for rows that only the platform writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, ValidationError
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Q, QuerySet
from django.forms import Media
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.functional import cached_property
from django.utils.text import capfirst

from console.widgets import ModelAdmin
from foundation.errors import BandstandError

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList
else:
    from unfold.views import ChangeList

# The most rows of a list, so that no query reads more; filters narrow it down.
LONGEST_LIST = 1_000
# A list needs no more of Django's scripts than this; by itself it would load those of its forms too, 260 KB of them.
LIST_MEDIA = Media(js=["admin/js/actions.js"])


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts up to `LONGEST_LIST` rows: an exact count of a large table takes seconds."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if isinstance(rows, QuerySet):
            return rows.order_by()[:LONGEST_LIST].count()
        return len(rows)


class ConsoleChangeList(ChangeList):
    """A list that is narrowed by its declared filters only.

    Django takes any lookup of the model's own fields from the query string: `digest__startswith`, or `at__year` with a
    number that no date has, on which the query fails.
    """

    def get_filters(self, request: HttpRequest) -> Any:
        filters = super().get_filters(request)
        if undeclared := filters[2]:
            raise IncorrectLookupParameters(f"There is no filter {', '.join(undeclared)}.")
        return filters


class ConsoleAdmin(ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """The base of all admins: bounded lists, cheap counts, and a declared number of queries."""

    # The most queries of one list of any length, including those of the login; checked by
    # tests/end_to_end/console/test_admin.py.
    query_budget: ClassVar[int]

    show_full_result_count = False
    # Facets would read the whole table once per filter.
    show_facets = ShowFacets.NEVER
    paginator = BoundedPaginator
    list_per_page = 50
    list_max_show_all = 0
    list_fullwidth = True
    actions_on_top = True

    def get_changelist(self, request: HttpRequest, **_kwargs: Any) -> type[Any]:  # noqa: ARG002
        return ConsoleChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Titled by what it lists."""
        title = capfirst(str(self.opts.verbose_name_plural))
        context = {"title": title, "media": LIST_MEDIA, **(extra_context or {})}
        return super().changelist_view(request, context)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Also for an empty `_to_field`, which Django (5.2) takes for the name of a field."""
        return super().get_object(request, object_id, from_field or None)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any) -> Any:
        """Respond with 400 to malformed primary keys, which make Django fail."""
        pk = self.opts.pk
        try:
            for selected in request.POST.getlist(ACTION_CHECKBOX_NAME):
                pk.run_validators(pk.to_python(selected))
        except ValidationError:
            raise BadRequest("What is selected is no row.") from None
        return super().response_action(request, queryset, *args, **kwargs)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Show a `BandstandError` of the service functions on the page; nothing is saved then."""
        try:
            with transaction.atomic():
                return super().changeform_view(request, *args, **kwargs)
        except BandstandError as error:
            if request.method != "POST":
                raise  # the error is of the page itself
            messages.error(request, f"Nothing is saved. {error.detail}")
            return HttpResponseRedirect(request.path)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Show only one save button."""
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **kwargs)


class ReadOnlyAdmin(ConsoleAdmin):
    """Lists newest first, pages without a form, and no way to add, change or delete."""

    # Fields that the search compares with a UUID, and those that it compares with the whole term.
    search_ids: ClassVar[tuple[str, ...]] = ("id",)
    search_words: ClassVar[tuple[str, ...]] = ()

    ordering: ClassVar[tuple[str, ...]] = ("-id",)
    sortable_by = ()
    actions: Any = ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        related = self.list_select_related
        # Detail pages select the related rows of the list, too.
        return rows.select_related(*related) if isinstance(related, tuple) else rows

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:  # noqa: ARG002
        return (*self.search_ids, *self.search_words)

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Any],
        search_term: str,
    ) -> tuple[QuerySet[Any], bool]:
        """Search by equality only, so that every search is an index lookup."""
        term = search_term.strip()
        if not term:
            return queryset, False
        condition = Q(pk__in=[])
        if (uuid := _uuid(term)) is not None:
            for field in self.search_ids:
                condition |= Q(**{field: uuid})
        for field in self.search_words:
            condition |= Q(**{field: term})
        return queryset.filter(condition), False


def _uuid(term: str) -> UUID | None:
    try:
        return UUID(term)
    except ValueError:
        return None
