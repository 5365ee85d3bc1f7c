"""The page of usage, and its file: turns, tokens and costs of a range of days by agent, release, user, group, day or
purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import content_disposition_header, urlencode

from accounts.audit import record_audit
from accounts.models import User
from accounts.permissions import user_actor
from accounts.role_permissions import EXPORT_LISTS
from agents.journal.usage_rollups import NO_ID, NO_USER, UsageBy, UsageFilter, UsageTotal, read_usage
from agents.models import Agent, Release, UsageRollup
from console.formatting import NOTHING, format_count, format_money, format_tokens
from console.list_export import ExportColumn, FileFormat, file_head, file_rows
from foundation.clock import now
from monitoring.dashboard import VIEW_TURN, Metric
from monitoring.list_links import TurnLinks
from monitoring.patterns_page import MAX_CHOICES, Row, Table, TableCell

# Of the page; the file has all.
MAX_PAGE_ROWS: Final = 500
DAY: Final = timedelta(days=1)
# Days that the lists of turns reckon with, too.
_FIRST_DAY, _LAST_DAY = date(2000, 1, 1), date(2999, 12, 31)
Key = UUID | int | datetime | str | None


class UnknownUsage(BadRequest):
    """The address names days, an agent, a release, a user, a group or a grouping that there is not."""

    rule = "console_usage"

    def __init__(self) -> None:
        super().__init__("There is no such day, agent, release, user, group or grouping.")


@dataclass(frozen=True, slots=True)
class UsageChoice:
    """What the page shows: the days from `since` to `until`, both included, in UTC."""

    since: date
    until: date
    by: UsageBy
    agent: Agent | None = None
    release: Release | None = None
    user: User | None = None
    group: Group | None = None

    @property
    def starts_at(self) -> datetime:
        return _start_of(self.since)

    @property
    def ends_at(self) -> datetime:
        """The end of the last day."""
        return _start_of(self.until) + DAY

    def usage_filter(self) -> UsageFilter:
        return UsageFilter(
            self.agent.pk if self.agent else None,
            self.release.pk if self.release else None,
            self.user.pk if self.user else None,
            self.group.pk if self.group else None,
        )

    def query(self, **changes: Any) -> dict[str, str]:
        """Its parameters in an address."""
        values = {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "by": self.by.value,
            "agent": self.agent and self.agent.pk,
            "release": self.release and self.release.pk,
            "user": self.user and self.user.username,
            "group": self.group and self.group.pk,
        }
        return {name: str(value) for name, value in {**values, **changes}.items() if value}

    def address(self, **changes: Any) -> str:
        return f"{reverse('admin:usage')}?{urlencode(self.query(**changes))}"


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The usage of an agent, a release, a user, a group, a day or a purpose; `name` is what lists filter by, if any."""

    key: Key
    label: str
    name: str
    usage: UsageTotal


def usage_context(request: HttpRequest) -> dict[str, Any]:
    """The template context of the page. Raises `PermissionDenied` for users who may not see turns, and
    `UnknownUsage`."""
    if not request.user.has_perm(VIEW_TURN):
        raise PermissionDenied
    today = now().astimezone(UTC).date()
    choice = read_choice(request.GET, today)
    rows = read_rows(choice)
    total = _total(rows, choice)
    return {
        "title": "Usage",
        "choice": choice,
        "ranges": [
            (name, choice.address(since=since, until=until), (since, until) == (choice.since, choice.until))
            for name, since, until in _ranges(today)
        ],
        "groupings": [(one.value, one.value) for one in UsageBy],
        "agents": Agent.objects.order_by("name", "slug").values_list("pk", "name")[:MAX_CHOICES],
        "releases": _releases(choice.agent) if choice.agent else [],
        "groups": Group.objects.order_by("name").values_list("pk", "name")[:MAX_CHOICES],
        "metrics": list(_metrics(total, choice)),
        "table": _table(rows, choice),
        "hidden": max(0, len(rows) - MAX_PAGE_ROWS),
        "may_download": request.user.has_perm(EXPORT_LISTS),
        "download_address": choice.address(),
    }


def download_usage(request: HttpRequest) -> HttpResponse:
    """All rows as CSV, with an entry in the audit trail. Raises `PermissionDenied` and `UnknownUsage`."""
    if not (request.user.has_perm(VIEW_TURN) and request.user.has_perm(EXPORT_LISTS)):
        raise PermissionDenied
    choice = read_choice(request.GET, now().astimezone(UTC).date())
    record_audit(
        user_actor(request.user),
        "list.exported",
        target=ContentType.objects.get_for_model(UsageRollup),
        target_name="Usage",
        detail={"format": FileFormat.CSV.value, "contents": False, "filters": choice.query()},
    )
    content = file_head(FileFormat.CSV, COLUMNS) + file_rows(FileFormat.CSV, COLUMNS, read_rows(choice))
    file_name = f"usage-by-{choice.by}-{choice.since}-{choice.until}.csv"
    headers = {"Cache-Control": "no-store", "Content-Disposition": content_disposition_header(True, file_name) or ""}
    return HttpResponse(content, content_type=FileFormat.CSV.media_type, headers=headers)


COLUMNS: Final = (
    ExportColumn("name", lambda row: row.label),
    ExportColumn("id", lambda row: None if isinstance(row.key, datetime) or row.key == NO_ID else row.key),
    ExportColumn("turns", lambda row: row.usage.turns),
    ExportColumn("side_calls", lambda row: row.usage.side_calls),
    ExportColumn("input_tokens", lambda row: row.usage.input_tokens),
    ExportColumn("output_tokens", lambda row: row.usage.output_tokens),
    ExportColumn("turn_cost_usd", lambda row: row.usage.turn_cost_usd),
    ExportColumn("side_cost_usd", lambda row: row.usage.side_cost_usd),
    ExportColumn("trial_calls", lambda row: row.usage.trial_calls),
    ExportColumn("trial_cost_usd", lambda row: row.usage.trial_cost_usd),
    ExportColumn("cost_usd", lambda row: row.usage.cost_usd),
    ExportColumn("cost_unknown", lambda row: row.usage.cost_unknown),
)


def read_choice(query: Mapping[str, str], today: date) -> UsageChoice:
    """What an address asks for; without days the present month. Raises `UnknownUsage`."""
    try:
        choice = UsageChoice(
            date.fromisoformat(query.get("since") or today.replace(day=1).isoformat()),
            date.fromisoformat(query.get("until") or today.isoformat()),
            UsageBy(query.get("by") or UsageBy.AGENT),
            _find(query, "agent", lambda value: Agent.objects.get(pk=UUID(value))),
            _find(query, "release", lambda value: Release.objects.get(pk=UUID(value))),
            _find(query, "user", lambda value: User.objects.get(username=value)),
            _find(query, "group", lambda value: Group.objects.get(pk=int(value))),
        )
    except (ValueError, OverflowError, Agent.DoesNotExist, Release.DoesNotExist, User.DoesNotExist, Group.DoesNotExist):
        raise UnknownUsage from None
    if not _FIRST_DAY <= choice.since <= choice.until <= _LAST_DAY:
        raise UnknownUsage
    if choice.release and choice.agent and choice.release.agent_id != choice.agent.pk:
        raise UnknownUsage
    return choice


def read_rows(choice: UsageChoice) -> list[UsageRow]:
    """The usage of the choice: days from the newest one, others from the most expensive one. Two statements."""
    usage = read_usage(choice.starts_at, choice.ends_at, by=choice.by, of=choice.usage_filter())
    names = _names(choice.by, list(usage))
    rows = [UsageRow(key, *names.get(key, ("deleted", "")), one) for key, one in usage.items()]
    if choice.by is UsageBy.DAY:
        return sorted(rows, key=lambda row: row.label, reverse=True)
    return sorted(rows, key=lambda row: (-row.usage.cost_usd, -row.usage.turns, row.label.casefold()))


def _find(query: Mapping[str, str], name: str, find: Callable[[str], Any]) -> Any:
    return find(query[name]) if query.get(name) else None


def _releases(agent: Agent) -> Any:
    return Release.objects.filter(agent=agent).order_by("-number").values_list("pk", "number")[:MAX_CHOICES]


def _start_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _names(by: UsageBy, keys: Sequence[Any]) -> dict[Any, tuple[str, str]]:
    """What each is called, and what lists of turns filter by."""
    match by:
        case UsageBy.DAY:
            return {key: (f"{key:%Y-%m-%d}", "") for key in keys}
        case UsageBy.PURPOSE:
            return {key: (str(key), "") for key in keys}
        case UsageBy.USER:
            users = User.objects.filter(pk__in=keys).values_list("pk", "username")
            return {NO_USER: ("no user", ""), **{key: (name, name) for key, name in users}}
        case UsageBy.GROUP:
            groups = Group.objects.filter(pk__in=[key for key in keys if key is not None])
            return {None: ("in no group", ""), **{group.pk: (group.name, str(group.pk)) for group in groups}}
        case UsageBy.AGENT:
            agents = Agent.objects.filter(pk__in=keys)
            return {NO_ID: ("no conversation", ""), **{agent.pk: (agent.name, str(agent.pk)) for agent in agents}}
    releases = Release.objects.filter(pk__in=keys).select_related("agent")
    return {NO_ID: ("no release", ""), **{release.pk: (str(release), str(release.pk)) for release in releases}}


def _ranges(today: date) -> Iterator[tuple[str, date, date]]:
    first = today.replace(day=1)
    yield "7 days", today - 6 * DAY, today
    yield "30 days", today - 29 * DAY, today
    yield "This month", first, today
    yield "Last month", (first - DAY).replace(day=1), first - DAY


def _total(rows: Sequence[UsageRow], choice: UsageChoice) -> UsageTotal:
    """All of it. Groups do not add up to it: some users are in several."""
    if choice.by is not UsageBy.GROUP:
        return sum((row.usage for row in rows), UsageTotal())
    return read_usage(choice.starts_at, choice.ends_at, by=None, of=choice.usage_filter()).get(None, UsageTotal())


def _metrics(total: UsageTotal, choice: UsageChoice) -> Iterator[Metric]:
    at_least = bool(total.cost_unknown)
    yield Metric("Turns", f"{total.turns:,}", "ended in these days", _turns_link(choice))
    yield Metric(
        "Tokens",
        format_count(total.input_tokens + total.output_tokens),
        format_tokens(total.input_tokens, total.output_tokens),
        "",
    )
    yield Metric(
        "Cost",
        format_money(total.cost_usd, at_least=at_least),
        f"{format_money(total.turn_cost_usd)} turns, {format_money(total.side_cost_usd)} side work, "
        f"{format_money(total.trial_cost_usd)} trials",
        "",
    )
    yield Metric(
        "Unknown cost",
        f"{total.cost_unknown:,}",
        "turns and calls: the cost is more than is shown" if at_least else "of all turns and calls",
        "",
        "warn" if at_least else "",
    )


def _turns_link(choice: UsageChoice, key: Key = None, name: str = "") -> str:
    """The list of exactly these turns; "" where lists do not filter so."""
    if choice.group is not None:
        return ""
    filters = {
        "agent": str(choice.agent.pk) if choice.agent else "",
        "release": str(choice.release.pk) if choice.release else "",
        "user": choice.user.username if choice.user else "",
    }
    since, until = choice.starts_at, choice.ends_at
    if isinstance(key, datetime):
        since, until = key, key + DAY
    elif name:
        filters[choice.by.value] = name
    return TurnLinks(since, until, {parameter: value for parameter, value in filters.items() if value}).all()


def _table(rows: Sequence[UsageRow], choice: UsageChoice) -> Table:
    note = "A user counts in each group that they are a member of now. " if choice.by is UsageBy.GROUP else ""
    return Table(
        "usage",
        f"By {choice.by}",
        choice.by.value.capitalize(),
        [Row(row.label, list(_cells(row, choice))) for row in rows[:MAX_PAGE_ROWS]],
        note=f"{note}Days are those of UTC. A turn counts on the day that it ended. Side work are titles, summaries, "
        "memories taken from what was said, and embeddings. Trials are all that is called in conversations in which "
        "something is tried out: with a candidate (staging), with a draft (trial), or of a test set (evaluation).",
    )


def _cells(row: UsageRow, choice: UsageChoice) -> Iterator[TableCell]:
    usage = row.usage
    yield TableCell("Turns", f"{usage.turns:,}", _row_link(row, choice) if usage.turns else "")
    yield TableCell("Input tokens", format_count(usage.input_tokens))
    yield TableCell("Output tokens", format_count(usage.output_tokens))
    yield TableCell("Side work", f"{usage.side_calls:,}")
    yield TableCell("Cost of side work", format_money(usage.side_cost_usd))
    yield TableCell("Cost of trials", format_money(usage.trial_cost_usd))
    yield TableCell("Cost", format_money(usage.cost_usd, at_least=bool(usage.cost_unknown)))
    yield TableCell("Unknown cost", f"{usage.cost_unknown:,}" if usage.cost_unknown else NOTHING)


def _row_link(row: UsageRow, choice: UsageChoice) -> str:
    if choice.by is UsageBy.GROUP:
        # Lists of turns do not filter by group, but its members' do.
        return choice.address(by=UsageBy.USER.value, group=row.name) if row.name else ""
    if row.name or isinstance(row.key, datetime):
        return _turns_link(choice, row.key, row.name)
    return ""
