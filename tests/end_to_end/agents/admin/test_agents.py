"""Agents in the console: made, edited, compared, published, rolled back, archived."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, User
from accounts.roles import Role
from agents.admin.agents import AgentAdmin
from agents.domain.configuration import SETTINGS, AgentConfiguration, Nested, ToolRights, TurnLimits
from agents.models import Agent, AgentDraft, AgentSession, Release
from tests.support.consoles import Fields, button_of, client_of, confirmed, fields_of, list_of, page_of
from tests.support.people import OFFLINE, agent, configuration_of, person, write_draft

pytestmark = pytest.mark.django_db


@pytest.fixture
def demo() -> Agent:
    return agent(tools=["clock"])


@pytest.fixture
def builder() -> Client:
    return client_of("bob", Role.BUILDER)


def draft_fields(client: Client, demo: Agent, **changes: Any) -> Fields:
    return fields_of(client.get(button_of(demo, "edit_draft")).context["form"]) | changes


def detail_fields(client: Client, demo: Agent, **changes: Any) -> Fields:
    return fields_of(client.get(page_of(demo)).context["adminform"].form) | changes


def live(demo: Agent) -> Release:
    release = Agent.objects.select_related("live_release").get(pk=demo.pk).live_release
    assert release is not None
    return release


def acts() -> list[str]:
    return list(AuditEntry.objects.exclude(actor__startswith="system:").order_by("id").values_list("action", flat=True))


def test_a_builder_makes_an_agent_writes_its_draft_and_publishes_it(builder: Client) -> None:
    form = {"name": "Legal", "slug": "legal", "capabilities": "contracts, law", "when_busy": "enqueue"}
    answer = builder.post(reverse("admin:agents_agent_add"), form)
    assert answer.status_code == 302, answer.context["errors"]
    legal = Agent.objects.get(slug="legal")
    assert (legal.capabilities, legal.live_release) == (["contracts", "law"], None)
    assert configuration_of(legal.draft) == AgentConfiguration(model_chain=("offline:",))
    assert answer["Location"] == button_of(legal, "edit_draft")
    changes: Fields = {
        "model_chain": "openai:gpt-5-mini\r\n\r\noffline:",
        "instructions": "Be exact.",
        "tools": ["clock"],
    }
    changes |= {"utility_models": "openai:gpt-5-nano", "title_by_model": "on"}
    changes |= {"recall": "on", "scopes": ["session", "user"]}
    sent = draft_fields(builder, legal, **changes, steps="5", history_messages="12", _publish="yes")
    assert builder.post(button_of(legal, "edit_draft"), sent)["Location"] == button_of(legal, "publish_draft")
    page = confirmed(builder, button_of(legal, "publish_draft"), note="First.")
    assert "Legal #1 is live" in page.content.decode()
    release = live(legal)
    assert (release.number, release.note) == (1, "First.")
    assert release.configuration == {
        "schema": 1,
        "model_chain": ["openai:gpt-5-mini", "offline:"],
        "utility_models": ["openai:gpt-5-nano"],
        "title_by_model": True,
        "instructions": "Be exact.",
        "tools": ["clock"],
        "limits": {"steps": 5},
        "context_policy": {"history_messages": 12},
        "memory": {"recall": True, "scopes": ["session", "user"]},
    }
    assert acts() == ["agent.created", "draft.changed", "release.published"]


def test_saving_a_draft_that_nobody_touched_changes_nothing(builder: Client, demo: Agent) -> None:
    before = AgentDraft.objects.values().get()
    assert builder.post(button_of(demo, "edit_draft"), draft_fields(builder, demo)).status_code == 302
    assert builder.post(page_of(demo), detail_fields(builder, demo)).status_code == 302
    assert AgentDraft.objects.values().get() == before
    assert acts() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_chain": ""}, "This field is required."),
        ({"model_chain": "gpt-5"}, "is no route: write provider:model"),
        ({"model_chain": "offline:\n<b>x"}, "&lt;b&gt;x"),
        ({"steps": "0"}, "greater than or equal to 1"),
        ({"steps": "101"}, "less than or equal to 100"),
        ({"steps": "many"}, "Enter a whole number."),
        ({"steps": "1e3"}, "Enter a whole number."),
        ({"answer_tokens": "99999999999999999999"}, "less than or equal to 1000000"),
        ({"tools": ["os.system"]}, "is not one of the available choices"),
        ({"instructions": "x\x00y"}, "Null characters are not allowed."),
        ({"instructions": "x" * 100_001}, "at most 100000 characters"),
        ({"order": "cached_response\nwaiting"}, "One of cached_response, simplified_response"),
        ({"order": "human_handoff\ncached_response"}, "Nothing can come after human_handoff."),
        ({"order": "simplified_response"}, "simplified_response needs a model."),
        ({"order": "cached_response", "recall": "on"}, "cached_response is for agents that do not recall."),
        ({"order": "simplified_response", "simplified_models": "gpt-5"}, "is no route: write provider:model"),
        ({"handoff_text": "One.\nTwo."}, "One line of text is expected."),
        ({"version": "x"}, "somebody else changed this"),
        ({"base": "{"}, "Draft"),
    ],
)
def test_what_cannot_be_is_said_beside_its_field(builder: Client, demo: Agent, change: Fields, words: str) -> None:
    answer = builder.post(button_of(demo, "edit_draft"), draft_fields(builder, demo) | change, follow=True)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert AgentDraft.objects.get().version == 1


def test_fallbacks_are_set_in_plain_fields_and_compared(builder: Client, demo: Agent) -> None:
    fields = {"order": "cached_response\r\nsimplified_response\r\nhuman_handoff", "simplified_models": "offline:"}
    sent = draft_fields(builder, demo) | fields | {"cached_hours": "2"}
    assert builder.post(button_of(demo, "edit_draft"), sent).status_code == 302
    stored = {
        "order": ["cached_response", "simplified_response", "human_handoff"],
        "cached_hours": 2,
        "simplified_models": ["offline:"],
    }
    assert AgentDraft.objects.get().configuration["fallbacks"] == stored
    page = builder.get(button_of(demo, "publish_draft")).content.decode()
    assert "order: cached_response, simplified_response, human_handoff" in page
    assert "cached hours: 2" in page
    # Emptied, it is what it was before anybody set it.
    emptied = {"order": "", "simplified_models": "", "cached_hours": "", "handoff_text": ""}
    assert builder.post(button_of(demo, "edit_draft"), draft_fields(builder, demo) | emptied).status_code == 302
    assert "fallbacks" not in AgentDraft.objects.get().configuration


def test_a_switch_that_was_set_to_its_default_stays_set_and_others_are_left_to_it(builder: Client, demo: Agent) -> None:
    write_draft(memory={"recall": False, "scopes": ["user"]})
    sent = draft_fields(builder, demo, instructions="Be brief.", scopes=["session", "user", "agent", "shared"])
    assert builder.post(button_of(demo, "edit_draft"), sent).status_code == 302
    assert AgentDraft.objects.get().configuration["memory"] == {
        "recall": False,
        "scopes": [
            "session",
            "user",
            "agent",
            "shared",
        ],
    }


def test_a_tool_that_is_gone_is_named_and_can_be_unticked(builder: Client, demo: Agent) -> None:
    write_draft(tools=["gone", "clock"])
    page = builder.get(button_of(demo, "edit_draft"))
    assert "gone: not installed here any more" in page.content.decode()
    sent = fields_of(page.context["form"])
    assert "no tool &#x27;gone&#x27;" in builder.post(button_of(demo, "edit_draft"), sent).content.decode()
    assert builder.post(button_of(demo, "edit_draft"), sent | {"tools": ["clock"]}).status_code == 302
    assert configuration_of(AgentDraft.objects.get()).tools == ("clock",)


def test_the_second_of_two_tabs_learns_who_was_first_and_loses_nothing(demo: Agent, builder: Client) -> None:
    ada = client_of("ada", Role.BUILDER)
    address = button_of(demo, "edit_draft")
    first = draft_fields(ada, demo, instructions="Ada's words.", steps="7")
    second = draft_fields(builder, demo, instructions="Bob's words.", turn_seconds="60")
    assert ada.post(address, first).status_code == 302
    answer = builder.post(address, second)
    page = answer.content.decode()
    assert "Changed by ada at" in page
    assert configuration_of(AgentDraft.objects.get()).instructions == "Ada's words."
    form = answer.context["form"]
    assert [clash.label for clash in form.conflict.conflicts] == ["Instructions"]
    assert {line.text for line in form.conflict.conflicts[0].lines} == {"Ada's words.", "Bob's words."}
    assert form.conflict.adopted == ("Model calls",)
    kept = fields_of(form)
    assert (kept["instructions"], kept["steps"], kept["turn_seconds"]) == ("Bob's words.", "7", "60")
    assert builder.post(address, kept).status_code == 302
    draft = AgentDraft.objects.get()
    saved = configuration_of(draft)
    assert (saved.instructions, draft.version) == ("Bob's words.", 3)
    assert saved.limits == TurnLimits(steps=7, turn_seconds=60)


def test_two_who_change_different_things_of_an_agent_keep_both(demo: Agent, builder: Client) -> None:
    lawyers = Group.objects.create(name="lawyers")
    first = detail_fields(builder, demo, groups=[str(lawyers.pk)], capabilities="law")
    second = detail_fields(builder, demo, name="Demonstration")
    assert builder.post(page_of(demo), first).status_code == 302
    answer = builder.post(page_of(demo), second)
    form = answer.context["adminform"].form
    assert set(form.conflict.adopted) == {"Capabilities", "Who may talk to it"}
    assert not form.conflict.conflicts
    assert "save again to keep both" in answer.content.decode()
    assert "replaces theirs" not in answer.content.decode()
    assert builder.post(page_of(demo), fields_of(form)).status_code == 302
    demo.refresh_from_db()
    assert (demo.name, demo.capabilities, list(demo.groups.all())) == ("Demonstration", ["law"], [lawyers])


def test_a_version_that_is_made_up_saves_nothing(demo: Agent, builder: Client) -> None:
    for version in ("", "0", "-1", "99999999999999999999", "x"):
        answer = builder.post(page_of(demo), detail_fields(builder, demo, name="Mine", version=version))
        assert answer.status_code == 200
    demo.refresh_from_db()
    assert demo.name == "Demo"


def test_roles_are_not_offered_as_groups_of_an_agent(demo: Agent, builder: Client) -> None:
    viewer = Group.objects.get(name=Role.VIEWER)
    assert builder.post(page_of(demo), detail_fields(builder, demo, groups=[str(viewer.pk)])).status_code == 200
    assert not demo.groups.exists()


def test_publishing_shows_what_changes_and_escapes_it(demo: Agent, builder: Client) -> None:
    write_draft(instructions="<script>alert(1)</script>", version=2)
    for name in ("publish_draft", "compare"):
        page = builder.get(button_of(demo, name)).content.decode()
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script>alert(1)" not in page
    assert live(demo).number == 1


def test_the_page_of_a_release_shows_every_setting(demo: Agent, builder: Client) -> None:
    sent = draft_fields(builder, demo, instructions="One.\r\nTwo.", steps="7", turn_seconds="300")
    builder.post(button_of(demo, "edit_draft"), sent)
    confirmed(builder, button_of(demo, "publish_draft"))
    page = builder.get(page_of(live(demo))).content.decode()
    assert live(demo).configuration["limits"] == {"steps": 7, "turn_seconds": 300}
    for setting in SETTINGS.values():
        assert setting.label in page
    for words in ("offline:", "One.", "Two.", "clock", "steps: 7", "tool calls: 24 (default)", "turn seconds: 300<"):
        assert words in page, words
    assert "history messages: 100 (default)" in page


def test_the_draft_offers_every_setting_to_builders_and_shows_it_to_others(demo: Agent, builder: Client) -> None:
    labels = [setting.label for setting in SETTINGS.values() if not isinstance(setting, Nested | ToolRights)]
    for group in SETTINGS.values():
        if isinstance(group, Nested):
            labels += [setting.label for setting in group.members.values()]
    form = builder.get(button_of(demo, "edit_draft")).context["form"]
    assert [str(field.label) for _, _, fields in form.sections() for field in fields] == labels
    assert [title for title, *_ in form.sections()] == [
        "What answers", "Side work", "Tools", "Limits", "What the model remembers", "When no model answers", "Memory",
        "A person takes over",
    ]  # fmt: skip
    page = client_of("vera", Role.VIEWER).get(button_of(demo, "edit_draft")).content.decode()
    assert all(f"<dt>{label}</dt>" in page for label in labels)
    assert "<dt>Recall</dt><dd>off</dd>" in page


def test_a_builder_sets_the_rights_of_a_tool_without_json(demo: Agent, builder: Client) -> None:
    address = button_of(demo, "edit_draft")
    changes = {
        "rule-clock-right": "ask",
        "rule-notebook_add-untrusted": "ask",
        "rule-notebook_add-argument-text": "any",
        "rule-notebook_add-schema": '{"properties": {"text": {"pattern": "^[a-z]+$"}}}',
        "rule-notebook_add-decided_by": "operator",
    }
    assert builder.post(address, draft_fields(builder, demo, **changes)).status_code == 302
    stored = AgentDraft.objects.get().configuration["tool_rights"]
    assert stored == {
        "clock": {"right": "ask"},
        "notebook_add": {
            "right": "allow",
            "schema": {"properties": {"text": {"pattern": "^[a-z]+$"}}},
            "untrusted": "ask",
            "untrusted_arguments": {"text": "any"},
            "decided_by": "operator",
        },
    }
    page = builder.get(address).content.decode()
    assert "Right: every call needs approval." in page
    assert builder.post(address, draft_fields(builder, demo)).status_code == 302
    assert AgentDraft.objects.get().configuration["tool_rights"] == stored
    assert "clock: every call needs approval" in builder.get(button_of(demo, "compare")).content.decode()
    confirmed(builder, button_of(demo, "publish_draft"))
    release = builder.get(reverse("admin:agents_release_change", args=(live(demo).pk,))).content.decode()
    assert "notebook_add: calls with values from untrusted sources are asked about" in release
    page = client_of("vera", Role.VIEWER).get(address).content.decode()
    assert "<dt>Rights of tools</dt><dd>clock: every call needs approval" in page


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rule-clock-schema", "{", "This is no JSON object"),
        ("rule-clock-schema", '{"$ref": "#"}', "refers to nothing"),
        ("rule-clock-schema", '{"required": ["zone"]}', "clock has no argument"),
        ("rule-clock-approval_hours", "200", "less than or equal to 168"),
        ("rule-clock-right", "perhaps", "not one of the available choices"),
        ("rule-clock-right", None, "This field is required"),
    ],
)
def test_a_rule_that_cannot_be_saved_is_marked_at_its_field(
    demo: Agent, builder: Client, name: str, value: str | None, words: str
) -> None:
    fields = draft_fields(builder, demo)
    fields.pop(name, None)
    answer = builder.post(button_of(demo, "edit_draft"), fields | ({name: value} if value is not None else {}))
    assert words in answer.content.decode()
    assert answer.context["form"].errors.keys() & {name, "rule-clock-right"}


def test_the_rule_of_a_tool_that_is_gone_can_be_taken_away(demo: Agent, builder: Client) -> None:
    write_draft(tool_rights={"gone": {"right": "deny", "untrusted_arguments": {"to": "ask"}}})
    address = button_of(demo, "edit_draft")
    assert "There is no tool &#x27;gone&#x27;" in builder.post(address, draft_fields(builder, demo)).content.decode()
    freed = {"rule-gone-right": "allow", "rule-gone-argument-to": "as_tool"}
    assert builder.post(address, draft_fields(builder, demo) | freed).status_code == 302
    assert "tool_rights" not in AgentDraft.objects.get().configuration


UNREADABLE = [
    ({"schema": 99}, "has schema 99 and was written by a newer version"),
    (OFFLINE | {"new_setting": "<b>5"}, "Unknown name &#x27;new_setting&#x27;"),
]


@pytest.mark.parametrize(("stored", "fault"), UNREADABLE)
def test_a_live_release_that_cannot_be_read_is_shown_and_rolled_back_from(
    demo: Agent, builder: Client, stored: Any, fault: str
) -> None:
    first = live(demo)
    unreadable = Release.objects.create(agent=demo, number=2, configuration=stored)
    Agent.objects.update(live_release=unreadable)
    buttons = [button_of(demo, name) for name in ("compare", "edit_draft", "publish_draft")]
    for address in (page_of(demo), page_of(unreadable), button_of(first, "roll_back"), *buttons):
        answer = builder.get(address)
        assert answer.status_code == 200, address
        page = answer.content.decode()
        assert fault in page, address
        assert "&quot;schema&quot;:" in page, address
        assert "<b>5" not in page
    assert 'name="instructions"' in builder.get(button_of(demo, "edit_draft")).content.decode()
    refused = builder.post(button_of(unreadable, "roll_back"), {"confirm": "yes", "live": str(unreadable.pk)})
    assert fault in refused.content.decode()
    for model in (Agent, Release):
        assert builder.get(list_of(model)).status_code == 200
    confirmed(builder, button_of(first, "roll_back"))
    assert (live(demo).number, live(demo).configuration) == (3, first.configuration)


@pytest.mark.parametrize(("stored", "fault"), UNREADABLE)
def test_a_draft_that_cannot_be_read_is_shown_and_neither_edited_nor_published(
    demo: Agent, builder: Client, stored: Any, fault: str
) -> None:
    AgentDraft.objects.update(configuration=stored)
    for address in (page_of(demo), button_of(demo, "compare")):
        assert fault in builder.get(address).content.decode()
    for name in ("edit_draft", "publish_draft"):
        for answer in (
            builder.get(button_of(demo, name)),
            builder.post(
                button_of(demo, name), {"confirm": "yes", "model_chain": "offline:", "version": 1, "draft": 1}
            ),
        ):
            page = answer.content.decode()
            assert answer.status_code == 200
            assert fault in page
            assert 'name="instructions"' not in page
            assert "Save draft" not in page
    assert (AgentDraft.objects.get().configuration, Release.objects.count(), acts()) == (stored, 1, [])


def test_what_somebody_else_changed_meanwhile_is_not_published(demo: Agent, builder: Client) -> None:
    address = button_of(demo, "publish_draft")
    seen = fields_of(builder.get(address).context["form"]) | {"confirm": "yes"}
    write_draft(instructions="Other.", version=2)
    assert "Nothing was published" in builder.post(address, seen, follow=True).content.decode()
    seen = fields_of(builder.get(address).context["form"]) | {"confirm": "yes"}
    builder.post(address, seen)
    again = builder.post(address, seen, follow=True).content.decode()
    assert "Somebody published another release" in again
    assert Release.objects.count() == 2


def test_a_draft_that_cannot_run_is_not_published_and_says_why(demo: Agent, builder: Client) -> None:
    write_draft(tools=["gone"])
    page = confirmed(builder, button_of(demo, "publish_draft"))
    assert "There is no tool &#x27;gone&#x27;. (/tools/0)" in page.content.decode()
    assert Release.objects.count() == 1


def test_rolling_back_publishes_the_old_configuration_anew_and_pins_what_runs(demo: Agent, builder: Client) -> None:
    first = live(demo)
    write_draft(instructions="Worse.", version=2)
    confirmed(builder, button_of(demo, "publish_draft"))
    session = AgentSession.objects.create(user=person("ada"), agent=demo, release=live(demo))
    page = confirmed(builder, button_of(first, "roll_back"))
    assert "Demo #3 is live" in page.content.decode()
    release = live(demo)
    assert (release.number, release.note) == (3, "Back to release 1.")
    assert release.configuration == first.configuration
    session.refresh_from_db()
    assert session.release.number == 2
    assert configuration_of(AgentDraft.objects.get()).instructions == "Worse."
    assert acts() == ["release.published", "release.rolled_back"]


def test_the_live_release_cannot_be_rolled_back_to(demo: Agent, builder: Client) -> None:
    assert "is live already" in confirmed(builder, button_of(live(demo), "roll_back")).content.decode()
    assert Release.objects.count() == 1


def test_any_two_releases_are_compared(demo: Agent, builder: Client) -> None:
    for number, text in enumerate(("One.", "Two."), start=2):
        write_draft(instructions=text, version=number)
        confirmed(builder, button_of(demo, "publish_draft"))

    def shown(**chosen: str) -> list[tuple[str, str]]:
        found = builder.get(button_of(demo, "compare"), chosen).context["differences"]
        return [(line.kind.value, line.text) for difference in found for line in difference.lines]

    assert shown(old="2", new="3") == [("removed", "One."), ("added", "Two.")]
    assert shown(old="3", new="2") == [("removed", "Two."), ("added", "One.")]
    assert shown(old="1", new="draft") == [("added", "Two.")]
    assert shown() == shown(old="99", new="x") == shown(old="3") == []


def test_an_archived_agent_is_offered_to_nobody_until_it_is_restored(demo: Agent, builder: Client) -> None:
    for archived, act in ((True, "agent.archived"), (False, "agent.restored")):
        confirmed(builder, button_of(demo, "archive"))
        demo.refresh_from_db()
        assert (demo.archived_at is not None) == archived
        assert acts()[-1] == act


Press = Callable[[Client, Agent], Any]
PRESSES: dict[str, Press] = {
    "details": lambda client, demo: client.post(page_of(demo), {"name": "Mine", "slug": "mine", "version": 1}),
    "a new agent": lambda client, demo: client.post(reverse("admin:agents_agent_add"), {"name": "M", "slug": "m"}),
    "publish": lambda client, demo: client.post(button_of(demo, "publish_draft"), {"confirm": "yes", "draft": 1}),
    "archive": lambda client, demo: client.post(button_of(demo, "archive"), {"confirm": "yes"}),
    "roll back": lambda client, demo: client.post(button_of(live(demo), "roll_back"), {"confirm": "yes"}),
}


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_who_is_no_builder_reads_and_changes_nothing(demo: Agent, role: Role) -> None:
    client = client_of("vera", role)
    for press in PRESSES.values():
        assert press(client, demo).status_code == 403
    page = client.get(button_of(demo, "edit_draft"))
    assert "You may read this draft" in page.content.decode()
    client.post(button_of(demo, "edit_draft"), {"instructions": "Mine.", "model_chain": "offline:", "version": 1})
    for address in (page_of(demo), button_of(demo, "compare"), page_of(live(demo))):
        assert client.get(address).status_code == 200
    demo.refresh_from_db()
    assert (demo.name, demo.archived_at, Release.objects.count(), Agent.objects.count()) == ("Demo", None, 1, 1)
    assert AgentDraft.objects.get().version == 1
    assert acts() == []


def test_buttons_of_an_agent_that_is_not_there_lead_back(builder: Client) -> None:
    for wanted in ("x", "0", "019a0000-0000-7000-8000-000000000000", "..%2f"):
        for button in ("draft", "publish", "compare", "archive"):
            answer = builder.get(f"{list_of(Agent)}{wanted}/{button}/")
            assert answer.status_code in {302, 404}, (wanted, button)
        assert builder.get(f"{list_of(Release)}{wanted}/roll-back/").status_code in {302, 404}


def test_the_page_of_an_agent_stays_within_its_budget(
    demo: Agent, builder: Client, django_assert_max_num_queries: Any
) -> None:
    bob = User.objects.get(username="bob")
    Release.objects.bulk_create(
        Release(agent=demo, number=number, published_by=bob, configuration=OFFLINE) for number in range(2, 40)
    )
    with django_assert_max_num_queries(AgentAdmin.page_query_budget):
        page = builder.get(page_of(demo)).content.decode()
    assert page.count(">#") == 10
