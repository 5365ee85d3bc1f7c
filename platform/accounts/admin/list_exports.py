"""The export of a list in the console: who may, how often, what is recorded, and the stream of its pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from threading import Lock
from time import monotonic
from typing import Any, ClassVar, Final

import structlog
from django import forms
from django.contrib import messages
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.utils.http import content_disposition_header
from django.utils.text import capfirst, slugify

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.models import User
from accounts.permissions import user_actor
from accounts.role_permissions import EXPORT_LISTS
from console.admin import ReadOnlyAdmin
from console.confirmation import confirmation_page, confirmed_data
from console.list_export import (
    MAX_ROWS,
    PAGE_ROWS,
    PAGE_ROWS_WITH_CONTENTS,
    ExportColumn,
    FileFormat,
    file_head,
    file_rows,
    list_pages,
)
from console.list_head import chips
from console.widgets import CheckboxInput, Select
from foundation.clock import now
from foundation.db_threads import in_db_thread
from foundation.errors import BandstandError, Forbidden, RateLimited
from ratelimits.limiter import consume, rate

log = structlog.get_logger(__name__)

EXPORTS_PER_HOUR: Final = 30
# An export that nobody reads any more counts as ended after so long.
IDLE_SECONDS: Final = 30.0
# In place of words that were searched for: people may have said them in a conversation.
UNRECORDED: Final = "(not recorded)"

_lock = Lock()
# When the export of each user in this process went on last.
_active: dict[int, float] = {}


class ExportForm(forms.Form):
    """Which file."""

    file_format = forms.ChoiceField(
        label="File",
        choices=[(FileFormat.CSV, "CSV, for spreadsheets"), (FileFormat.JSONL, "JSON lines, for programs")],
        widget=Select,
        initial=FileFormat.CSV,
    )
    with_contents = forms.BooleanField(label="With what was said", required=False, widget=CheckboxInput)

    def __init__(self, *args: Any, offers_contents: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not offers_contents:
            del self.fields["with_contents"]


class ListExport:
    """An export that has begun: its rows, page by page. Every page asks again whether the user may."""

    def __init__(
        self, model_admin: ExportableAdmin, changelist: Any, user: User, *, file_format: FileFormat, with_contents: bool
    ) -> None:
        self._admin, self._changelist, self._user = model_admin, changelist, user
        self._format, self._with_contents = file_format, with_contents
        self._columns = [column for column in model_admin.export_columns if with_contents or not column.is_content]
        self.rows = 0

    def pieces(self) -> Iterator[bytes]:
        """The file in pieces, each of one page. Raises `Forbidden` when the user may no longer."""
        yield file_head(self._format, self._columns)
        page_rows = PAGE_ROWS_WITH_CONTENTS if self._with_contents else PAGE_ROWS
        for keys in list_pages(self._changelist, page_rows=page_rows):
            user = User.objects.filter(pk=self._user.pk, is_active=True).first()
            if user is None or not self._admin.may_export(user):
                raise Forbidden(rule=EXPORT_LISTS)
            rows = self._admin.export_rows(keys, user, with_contents=self._with_contents)
            self.rows += len(rows)
            yield file_rows(self._format, self._columns, rows)


class ExportableAdmin(ReadOnlyAdmin):
    """A list with an export. `export_columns` say what of each row."""

    export_columns: ClassVar[tuple[ExportColumn, ...]] = ()
    # Who holds it may choose to have what was said, too, as far as they may read it; "": there is nothing to choose.
    export_contents_permission: ClassVar[str] = ""

    def may_export(self, user: Any) -> bool:
        """Whether `user` may export this list: the permission to export, and to see it."""
        view = f"{self.opts.app_label}.view_{self.opts.model_name}"
        return bool(user.is_active and user.has_perm(EXPORT_LISTS) and user.has_perm(view))

    def export_rows(self, keys: Sequence[Any], user: User, *, with_contents: bool) -> list[Any]:  # noqa: ARG002
        """The rows of `keys` in that order, with what `export_columns` need; a row that is gone is left out."""
        related = self.list_select_related
        rows = self.model._default_manager.select_related(*related if isinstance(related, tuple) else ()).in_bulk(keys)
        return [rows[key] for key in keys if key in rows]

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        export = path("export/", self.admin_site.admin_view(self.export_view), name=name)
        return [export, *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Ask for the format, then send the file."""
        if not self.may_export(request.user):
            raise PermissionDenied
        changelist = self.get_changelist_instance(request)
        permission = self.export_contents_permission
        form = ExportForm(
            confirmed_data(request), offers_contents=bool(permission) and request.user.has_perm(permission)
        )
        name = str(self.opts.verbose_name_plural)
        back = f"../{changelist.get_query_string()}"
        confirmation = confirmation_page(
            request,
            self,
            title=f"Export {name}",
            message=f"A file with all {name} that match, newest first, {MAX_ROWS:,} at most. It leaves an entry in the "
            "audit trail. The download begins at once; this page stays.",
            yes="Download",
            back=back,
            form=form,
            facts=[(capfirst(chip.title), chip.value) for chip in chips(changelist)],
        )
        if confirmation is not None:
            return confirmation
        file_format = FileFormat(form.cleaned_data["file_format"])
        with_contents = form.cleaned_data.get("with_contents", False)
        try:
            export = begin_export(
                user_actor(request.user), self, changelist, file_format=file_format, with_contents=with_contents
            )
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(back)
        file_name = f"{slugify(name)}-{now():%Y-%m-%dT%H%M}.{file_format}"
        headers = {"Cache-Control": "no-store", "Content-Disposition": content_disposition_header(True, file_name)}
        return StreamingHttpResponse(stream(export), content_type=file_format.media_type, headers=headers)


def begin_export(
    actor: Actor,
    model_admin: ExportableAdmin,
    changelist: Any,
    *,
    file_format: FileFormat,
    with_contents: bool,
    is_limited: bool = True,
) -> ListExport:
    """Record that `actor` exports the list, and return the export.

    Raises `Forbidden`, and with `is_limited` `RateLimited` for more than `EXPORTS_PER_HOUR`, or a second one at a time.
    """
    user = None if actor.user_id is None else User.objects.filter(pk=actor.user_id, is_active=True).first()
    if user is None or not model_admin.may_export(user):
        raise Forbidden(rule=EXPORT_LISTS)
    if with_contents and not user.has_perm(model_admin.export_contents_permission):
        raise Forbidden(rule=model_admin.export_contents_permission)
    if is_limited:
        _guard(user.pk)
    detail = {
        "format": str(file_format),
        "contents": with_contents,
        "filters": {chip.title: UNRECORDED if chip.is_private else chip.value[:200] for chip in chips(changelist)},
    }
    target = ContentType.objects.get_for_model(model_admin.model)
    record_audit(
        actor,
        "list.exported",
        target=target,
        target_name=capfirst(str(model_admin.opts.verbose_name_plural)),
        detail=detail,
    )
    return ListExport(model_admin, changelist, user, file_format=file_format, with_contents=with_contents)


def _guard(user_id: int) -> None:
    with _lock:
        last = _active.get(user_id)
        if last is not None and monotonic() - last < IDLE_SECONDS:
            raise RateLimited("Your last export still runs: wait for its end.", retry_after_seconds=IDLE_SECONDS)
        consume([(rate("list-exports", EXPORTS_PER_HOUR, 3600.0, leased=False), f"e:u:{user_id}")])
        _active[user_id] = monotonic()


async def stream(export: ListExport) -> AsyncIterator[bytes]:
    """The pieces of the file. A database thread makes each when the one before it was sent.

    Whoever may no longer, and whoever's database fails, gets a file that breaks off: its end is missing on the wire.
    """
    user_id, pieces = export._user.pk, export.pieces()
    try:
        while (piece := await in_db_thread(lambda: next(pieces, None))) is not None:
            with _lock:
                _active[user_id] = monotonic()
            yield piece
        log.info("list.exported", rows=export.rows, user=user_id)
    finally:
        with _lock:
            _active.pop(user_id, None)
