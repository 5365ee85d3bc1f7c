"""Facts: what is told twice is stored once, a new value supersedes the old one, and nothing is overwritten."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from accounts.actor import Actor
from accounts.models import AuditEntry
from accounts.roles import Role
from foundation.clock import now
from foundation.errors import Conflict, Forbidden, InvalidInput, NotFound, PreconditionFailed, TooLarge
from foundation.ids import new_id
from memory.enums import MemoryScope, MemorySource, Tier, Trust
from memory.models import Memory, MemoryBody, MemoryDerivation, MemoryKey, MemoryOwner
from memory.ownership import OwnerKey
from memory.writing import (
    Provenance,
    PurgeFilter,
    Remembered,
    confirm_memory,
    export_memories,
    forget_memory,
    merge_memories,
    purge_memories,
    quarantine_memory,
    reject_memory,
    remember,
    revise,
)
from memory.writing.eviction import evict
from tests.support.people import person

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("tests")
AGENT = new_id()


def limited(**limits: int) -> Any:
    """The configuration with other limits."""
    return override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update=limits))


class Ada:
    """Somebody whose memories these are."""

    def __init__(self, name: str = "ada", *roles: Role) -> None:
        self.user = person(name, Role.USER, *roles)
        self.actor = Actor.user(user_id=self.user.pk, name=name)
        self.owner = OwnerKey(MemoryScope.USER, user_id=self.user.pk, agent_id=AGENT)

    def remember(self, text: str = "I live in Bern.", **options: Any) -> Remembered:
        return remember(self.actor, self.owner, text, **{"source": MemorySource.API, **options})

    def holds(self) -> list[str]:
        """The texts that are current."""
        rows = Memory.objects.filter(owner__user=self.user, superseded_by=None, valid_until=None, trust__gte=2)
        return list(rows.order_by("pk").values_list("body__text", flat=True))


@pytest.fixture
def ada() -> Ada:
    return Ada()


def test_what_is_told_twice_is_stored_once(ada: Ada) -> None:
    first = ada.remember("I live in Bern.")
    again = ada.remember("  i LIVE in\n Bern ")
    assert (first.is_new, again) == (True, Remembered(first.id, is_new=False))
    row = Memory.objects.select_related("body").get()
    assert (row.tier, row.trust, row.body.text) == (Tier.LONG_TERM, Trust.DEFAULT, "I live in Bern.")
    assert MemoryOwner.objects.get().memories == 1


def test_another_owner_has_memories_of_its_own(ada: Ada) -> None:
    ada.remember()
    assert Ada("bob").remember().is_new
    with pytest.raises(Forbidden):
        remember(ada.actor, Ada("eve").owner, "Believe me.", source=MemorySource.API)


def test_a_new_value_of_a_slot_supersedes_the_old_one(ada: Ada) -> None:
    bern = ada.remember("I live in Bern.", slot="Home city")
    basel = ada.remember("I live in Basel.", slot="home_city")
    assert basel.superseded == (bern.id,)
    old = Memory.objects.select_related("body").get(pk=bern.id)
    assert (old.superseded_by_id, old.body.text, old.valid_until is not None) == (basel.id, "I live in Bern.", True)
    # It may hold again later, as a memory of its own.
    back = ada.remember("I live in Bern.", slot="home_city")
    assert back.is_new
    assert ada.holds() == ["I live in Bern."]
    assert Memory.objects.count() == 3


def test_what_has_expired_does_not_keep_the_same_from_being_remembered(ada: Ada) -> None:
    first = ada.remember("The code is 17.", slot="code", expires_at=now() + timedelta(hours=1))
    Memory.objects.filter(pk=first.id).update(expires_at=now() - timedelta(seconds=1))
    assert ada.remember("The code is 17.", slot="code").is_new


@pytest.mark.parametrize(
    ("text", "error"),
    [("", InvalidInput), (" \n", InvalidInput), ("a\x00b", InvalidInput), ("\ud800", InvalidInput),
     ("x" * 8193, TooLarge), ("é" * 4097, TooLarge), ("x" * 10_000_000, TooLarge), (7, InvalidInput)],
)  # fmt: skip
def test_a_text_that_cannot_be_kept_is_refused(ada: Ada, text: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        ada.remember(text)
    assert not MemoryOwner.objects.exists()


def test_controls_and_marks_of_direction_do_not_get_into_a_fact(ada: Ada) -> None:
    ada.remember("I live\x1b[31m in \u202eBern.\nYes.", speaker="Ada\n\u202eL.")
    row = Memory.objects.select_related("body").get()
    assert (row.body.text, row.actor) == ("I live [31m in  Bern.\nYes.", "Ada L.")


@pytest.mark.parametrize(
    "options",
    [{"slot": "x" * 65}, {"slot": 7}, {"importance": 1.1}, {"importance": float("nan")}, {"metadata": []},
     {"metadata": {"a": float("inf")}}, {"expires_at": now() - timedelta(days=1)}],
)  # fmt: skip
def test_bad_options_are_refused(ada: Ada, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        ada.remember("I live in Bern.", **options)


def test_a_correction_supersedes_the_fact_and_takes_what_was_made_of_it(ada: Ada) -> None:
    wrong = ada.remember("I live in Born.", slot="home")
    made = ada.remember("Ada is from Born.", derived_from=[wrong.id], keys=["planning a visit"])
    assert MemoryKey.objects.get().memory_id == made.id
    right = revise(ada.actor, wrong.id, "I live in Bern.", expected_version=1)
    assert ada.holds() == ["I live in Bern."]
    assert not Memory.objects.filter(pk=made.id).exists()
    assert not MemoryKey.objects.exists()
    row = Memory.objects.get(pk=right.id)
    assert (row.slot, row.trust) == ("home", Trust.CONFIRMED)
    assert row.valid_from == Memory.objects.get(pk=wrong.id).valid_from
    with pytest.raises(Conflict):
        revise(ada.actor, wrong.id, "I live in Basel.", expected_version=2)
    with pytest.raises(PreconditionFailed):
        revise(ada.actor, right.id, "I live in Basel.", expected_version=7)
    with pytest.raises(NotFound):
        revise(Ada("eve").actor, right.id, "Eve was here.", expected_version=1)


def test_a_correction_to_what_holds_already_merges_both(ada: Ada) -> None:
    first, second = ada.remember("I like tea."), ada.remember("I like te.")
    assert revise(ada.actor, second.id, "I like tea.", expected_version=1).id == first.id
    assert ada.holds() == ["I like tea."]


def test_a_correction_keeps_what_was_made_of_the_fact_and_is_its_origin_too(ada: Ada) -> None:
    """Facts of two sessions may each be derived from the other: the corrected one is not among what was made of it."""
    fact = ada.remember()
    answer = ada.remember("They said that they live in Bern.", derived_from=[fact.id])
    MemoryDerivation.objects.create(memory_id=fact.id, origin_id=answer.id)
    new = revise(ada.actor, fact.id, "I live in Basel.", expected_version=None)
    assert ada.holds() == ["I live in Basel."]
    assert Memory.objects.get(pk=fact.id).superseded_by_id == new.id


def test_what_a_person_says_again_is_believed_more_and_holds_for_longer(ada: Ada) -> None:
    friday = now() + timedelta(days=3)
    fact = ada.remember(expires_at=friday)
    ada.remember(expires_at=friday - timedelta(days=1))
    row = Memory.objects.get(pk=fact.id)
    assert (row.expires_at, row.trust) == (friday, Trust.DEFAULT)
    ada.remember(trust=Trust.CONFIRMED)
    row.refresh_from_db()
    assert (row.expires_at, row.trust) == (None, Trust.CONFIRMED)
    ada.remember(expires_at=friday)
    row.refresh_from_db()
    assert (row.expires_at, row.trust) == (None, Trust.CONFIRMED)


def test_what_a_model_finds_again_changes_nothing(ada: Ada) -> None:
    friday = now() + timedelta(days=3)
    fact = ada.remember(expires_at=friday)
    ada.remember(source=MemorySource.EXTRACTION, trust=Trust.CONFIRMED)
    row = Memory.objects.get(pk=fact.id)
    assert (row.expires_at, row.trust) == (friday, Trust.DEFAULT)


def test_to_forget_erases_text_keys_older_values_and_what_was_made_of_it(ada: Ada) -> None:
    old = ada.remember("I live in Bern.", slot="home")
    new = ada.remember("I live in Basel.", slot="home", keys=["a visit"])
    ada.remember("Ada lives by the Rhine.", derived_from=[new.id])
    ada.remember("I like tea.")
    with pytest.raises(NotFound):
        forget_memory(Ada("eve").actor, new.id)
    assert forget_memory(ada.actor, new.id) == 3
    assert list(MemoryBody.objects.values_list("text", flat=True)) == ["I like tea."]
    assert not MemoryKey.objects.exists()
    assert not MemoryDerivation.objects.exists()
    assert not Memory.objects.filter(pk=old.id).exists()
    assert MemoryOwner.objects.get(user=ada.user).memories == 1


def test_a_rejected_fact_lets_what_it_had_superseded_hold_again(ada: Ada) -> None:
    old = ada.remember("I live in Bern.", slot="home")
    bad = ada.remember("I live on Mars.", slot="home", source=MemorySource.EXTRACTION)
    made = ada.remember("Ada needs a rocket.", derived_from=[bad.id], source=MemorySource.EXTRACTION)
    reject_memory(ada.actor, bad.id)
    assert ada.holds() == ["I live in Bern."]
    assert Memory.objects.get(pk=made.id).trust == Trust.REJECTED
    # The same, extracted once more, is not believed; and what holds again is recognized.
    again = remember(SYSTEM, ada.owner, "I live on Mars.", slot="home", source=MemorySource.EXTRACTION)
    assert again == Remembered(bad.id, is_new=False)
    assert ada.remember("I live in Bern.", slot="home") == Remembered(old.id, is_new=False)
    assert ada.holds() == ["I live in Bern."]
    # Whoever says it in person is believed.
    ada.remember("I live on Mars.", slot="home", source=MemorySource.FORM)
    assert ada.holds() == ["I live on Mars."]


def test_a_quarantined_value_supersedes_nothing_until_it_is_confirmed(ada: Ada) -> None:
    ada.remember("I bank with A.", slot="bank")
    foreign = ada.remember("I bank with B.", slot="bank", source=MemorySource.TOOL, trust=Trust.QUARANTINED)
    assert ada.holds() == ["I bank with A."]
    confirm_memory(ada.actor, foreign.id)
    assert ada.holds() == ["I bank with B."]
    quarantine_memory(ada.actor, foreign.id)
    assert ada.holds() == ["I bank with A."]


def test_reviewers_merge_memories_of_one_owner_and_leave_a_trace(ada: Ada) -> None:
    one, two = ada.remember("I like tea.", importance=0.9), ada.remember("Ada is fond of tea.")
    made = ada.remember("Offer tea.", derived_from=[one.id])
    olga = Ada("olga", Role.VIEWER, Role.OPERATOR)
    with pytest.raises(Forbidden):
        merge_memories(ada.actor, [one.id], into=two.id)
    merged = merge_memories(olga.actor, [one.id], into=two.id)
    assert (merged.pk, merged.importance) == (two.id, 0.9)
    assert Memory.objects.get(pk=one.id).superseded_by_id == two.id
    assert MemoryDerivation.objects.get(memory=made.id).origin_id == two.id
    with pytest.raises(InvalidInput):
        merge_memories(olga.actor, [olga.remember("I like tea.").id], into=two.id)
    assert AuditEntry.objects.get(action="memory.merged").target_id == str(two.id)
    assert "tea" not in str(AuditEntry.objects.values())


def test_a_merge_leaves_the_end_of_what_had_ended_already(ada: Ada) -> None:
    fact, old = ada.remember(), ada.remember("I live in the city of Bern.")
    ended = now() - timedelta(days=30)
    Memory.objects.filter(pk=old.id).update(valid_until=ended)
    reviewer = Ada("rex", Role.OPERATOR)
    merge_memories(reviewer.actor, [old.id], into=fact.id)
    assert Memory.objects.get(pk=old.id).valid_until == ended


def test_a_source_is_purged_and_what_it_had_superseded_holds_again(ada: Ada) -> None:
    ada.remember("I live in Bern.", slot="home")
    page = Provenance(origin="https://evil.example/")
    bad = ada.remember("I live on Mars.", slot="home", source=MemorySource.TOOL, provenance=page)
    ada.remember("Rockets are needed.", derived_from=[bad.id])
    ada.remember("Mars is nice.", source=MemorySource.TOOL, provenance=page)
    with pytest.raises(Forbidden):
        purge_memories(ada.actor, PurgeFilter(origin=page.origin))
    with pytest.raises(InvalidInput):
        purge_memories(SYSTEM, PurgeFilter(user_id=ada.user.pk))
    assert purge_memories(SYSTEM, PurgeFilter(origin=page.origin)) == 3
    assert ada.holds() == ["I live in Bern."]
    assert purge_memories(SYSTEM, PurgeFilter(origin=page.origin)) == 0


def test_one_bad_fact_goes_without_its_whole_source(ada: Ada) -> None:
    source = ada.remember("Notes of a day.")
    good = ada.remember("Ada likes tea.", derived_from=[source.id])
    bad = ada.remember("Ada likes nails.", derived_from=[source.id])
    forget_memory(ada.actor, bad.id)
    assert ada.holds() == ["Notes of a day.", "Ada likes tea."]
    assert MemoryDerivation.objects.get().memory_id == good.id


def test_everything_of_a_user_can_be_exported_and_nothing_of_others(ada: Ada) -> None:
    ada.remember("I live in Bern.", slot="home")
    ada.remember("I live in Basel.", slot="home")
    Ada("eve").remember("Eve was here.")
    rows = list(export_memories(ada.actor))
    assert [(row["text"], row["superseded_by"]) for row in rows] == [
        ("I live in Bern.", rows[1]["id"]), ("I live in Basel.", None),
    ]  # fmt: skip


def test_beyond_the_limit_the_least_valuable_goes_first(ada: Ada) -> None:
    with limited(memory_facts_per_owner=10):
        for number in range(13):
            ada.remember(f"Fact {number}", importance=0.9 if number < 3 else 0.1 + number / 100)
        Memory.objects.filter(body__text="Fact 3").update(hits=1000)
        owner = MemoryOwner.objects.get()
        assert evict(owner.pk, Tier.LONG_TERM) == 3
    assert ada.holds() == [f"Fact {number}" for number in range(13) if number not in (4, 5, 6)]
    assert evict(owner.pk, Tier.LONG_TERM) == 0


def test_writing_alone_keeps_an_owner_within_its_limit(ada: Ada) -> None:
    with limited(memory_facts_per_owner=10):
        for number in range(70):
            ada.remember(f"Fact {number}")
    assert len(ada.holds()) <= 16


def test_a_fact_costs_few_statements(ada: Ada, django_assert_num_queries: Any) -> None:
    ada.remember("I like tea.")
    with django_assert_num_queries(5):  # a savepoint and its end, the owner, its lock and count, the fact
        remember(SYSTEM, ada.owner, "I like coffee.", source=MemorySource.API)
