"""Credentials show that this installation made them."""

import pytest
from django.conf import settings
from pydantic import SecretStr

from accounts.api_keys import _new_key, is_api_key
from accounts.credential_tags import TAG_LENGTH, has_tag, tag_credential
from accounts.login_sessions import _new_session_key, is_session_key
from accounts.requesters import find_requester, remember_refusal, remember_requester


def test_a_tag_is_good_for_one_text_and_one_secret() -> None:
    credential = tag_credential("bs_abc", "secret")
    assert len(credential) == len("bs_abc") + TAG_LENGTH
    assert has_tag(credential, ["another", "secret"])
    assert not has_tag(credential, ["another"])
    for other in (
        "",
        "é",
        "\ud800",
        "x" * 9,
        "x" + credential,
        credential[:-1],
        credential[:-1] + "é",
        credential + "x",
    ):
        assert not has_tag(other, ["secret"])


def test_invented_credentials_count_for_their_address_and_ours_do_not() -> None:
    _, key = _new_key()
    login = _new_session_key()
    assert is_api_key(key)
    assert is_session_key(login)
    requesters = {find_requester(credential, "192.0.2.1") for credential in (key, login)}
    assert {requester[:2] for requester in requesters} == {"c:"}
    assert len(requesters) == 2
    assert not any(credential in requester for credential in (key, login) for requester in requesters)
    for invented in (key[:-1] + "%", key[:-1], "bs_" + "a" * 12 + "_" + "a" * 53, "a" * len(login), "\ud800", "", None):
        assert find_requester(invented, "192.0.2.1") == "a:192.0.2.1"


def test_a_credential_of_ours_that_is_no_good_counts_for_its_address_until_it_is_good_again() -> None:
    _, key = _new_key()
    remember_refusal(key)
    assert find_requester(key, "192.0.2.1") == "a:192.0.2.1"
    remember_requester(key, 17)
    assert find_requester(key, "192.0.2.1") == "u:17"


def test_tags_go_on_being_good_while_secrets_are_rotated(monkeypatch: pytest.MonkeyPatch) -> None:
    _, key = _new_key()
    login = _new_session_key()
    bandstand = settings.BANDSTAND
    rotated = {"key_pepper": SecretStr("another pepper"), "key_pepper_previous": bandstand.key_pepper}
    monkeypatch.setattr(settings, "BANDSTAND", bandstand.model_copy(update=rotated))
    monkeypatch.setattr(settings, "SECRET_KEY_FALLBACKS", [settings.SECRET_KEY])
    monkeypatch.setattr(settings, "SECRET_KEY", "another secret")
    assert is_api_key(key)
    assert is_session_key(login)
    monkeypatch.setattr(settings, "SECRET_KEY_FALLBACKS", [])
    monkeypatch.setattr(settings, "BANDSTAND", bandstand.model_copy(update={"key_pepper": SecretStr("another pepper")}))
    assert not is_api_key(key)
    assert not is_session_key(login)
