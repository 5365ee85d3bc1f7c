"""The base classes of all admins: `ConsoleAdmin`, and `ReadOnlyAdmin` for rows that only the platform writes."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.exceptions import DisallowedModelAdminLookup, DisallowedModelAdminToField
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, ValidationError
from django.core.paginator import EmptyPage, PageNotAnInteger, Paginator
from django.db import transaction
from django.db.models import Q, QuerySet
from django.forms import Media
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import cached_property
from django.utils.text import capfirst

from console.list_head import ListTab
from console.list_parameters import UnknownFilter, filter_parameters
from console.navigation import list_title
from console.widgets import ModelAdmin
from foundation.errors import BandstandError

# The most rows of a list, so that no query reads more; filters narrow it down.
LONGEST_LIST = 1_000
LONGEST_SEARCH = 200
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

    def validate_number(self, number: int | float | str) -> int:
        """The page nearest to `number`: rows may have gone since somebody took the link."""
        try:
            return super().validate_number(number)
        except PageNotAnInteger:
            return 1
        except EmptyPage:
            return self.num_pages if int(number) > 1 else 1


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
    # The tabs and chips, above the search.
    list_before_template = "console/list_head.html"
    list_tabs: ClassVar[tuple[ListTab, ...]] = ()
    # What an empty list says; "": that there is nothing.
    list_empty_words: ClassVar[str] = ""
    actions_on_top = True

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Titled as in the sidebar, else by what it lists."""
        title = list_title(self.opts.app_label, str(self.opts.model_name))
        title = title or capfirst(str(self.opts.verbose_name_plural))
        context = {"title": title, "media": LIST_MEDIA, **(extra_context or {})}
        return super().changelist_view(request, context)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Django's search by words. Nothing matches more than `LONGEST_SEARCH` characters: each word is a condition."""
        if len(search_term) > LONGEST_SEARCH:
            return queryset.none(), False
        rows, has_duplicates = super().get_search_results(request, queryset, search_term)
        return rows, bool(has_duplicates)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list. Raises `UnknownFilter` for what no filter of it takes, where Django would show all rows instead."""
        try:
            return super().get_changelist_instance(request)
        except (DisallowedModelAdminLookup, DisallowedModelAdminToField, IncorrectLookupParameters) as error:
            raise UnknownFilter from error

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Also for an empty `_to_field`, which Django (5.2) takes for the name of a field."""
        return super().get_object(request, object_id, from_field or None)

    def redirect_missing(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """To the start page, with a message that there is no such row (any more)."""
        response: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        return response

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
        except DisallowedModelAdminToField as error:
            raise UnknownFilter from error
        except BandstandError as error:
            if request.method != "POST":
                raise  # the error is of the page itself
            messages.error(request, f"Nothing is saved. {error.detail}")
            return HttpResponseRedirect(request.path)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Show only one save button."""
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **kwargs)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:  # noqa: ARG002
        """Whether a filter in `list_filter` reads `lookup` from the query string.

        Django allows every lookup of the model's own fields, so that whoever sees a list could guess, letter by letter,
        what its columns do not show.
        """
        return lookup in self._filter_parameters

    @cached_property
    def _filter_parameters(self) -> frozenset[str]:
        return filter_parameters(self, self.list_filter)

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:  # noqa: ARG002
        """False: it is for windows that choose a row for another form, which the console has not."""
        return False


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
