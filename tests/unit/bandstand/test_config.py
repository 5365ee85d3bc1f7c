"""The environment is read once, completely, and says in one line per fault what is wrong with it."""

import base64
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bandstand import config as configuration
from bandstand import installation_secrets
from bandstand.config import ROOT, Config, ConfigError, load
from bandstand.databases import secrets_in_use
from bandstand.email_url import Encryption, MailServer
from bandstand.supervisor.banner import lines

SECRET = "canary-" + "kY3vQ9sLm2Xr7TpWz5" * 4
KEY = base64.urlsafe_b64encode(b"canary: 32 bytes of nothing here").decode()
ELSEWHERE = {
    "DATABASE_URL": "postgresql://user:canary-password@db.example.org/bandstand",
    "SECRET_KEY": SECRET,
    "BANDSTAND_KEY_PEPPER": SECRET[::-1],
    "BANDSTAND_ENCRYPTION_KEY": KEY,
}
MAIL = {"EMAIL_FROM": "Bandstand <chat@example.org>"}
Reader = Callable[..., Config]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Reader:
    """Reads an environment that holds nothing but what is given, and an empty data directory."""
    for name in list(os.environ):
        if name.startswith("BANDSTAND_") or name.removesuffix("_FILE") in configuration.variables():
            monkeypatch.delenv(name)

    def reader(**environment: str) -> Config:
        settings = {"BANDSTAND_ENV_FILE": os.devnull, "BANDSTAND_DATA_DIR": str(tmp_path / "data"), **environment}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        return load()

    return reader


def faults(read: Reader, **environment: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(**environment)
    return caught.value.faults


def test_nothing_set_is_a_machine_of_its_own(read: Reader) -> None:
    config = read()
    assert config.embedded
    assert (config.host, config.port, config.base_url) == ("127.0.0.1", 8000, "http://127.0.0.1:8000")
    assert (config.lease_seconds, config.heartbeat_seconds, config.drain_seconds) == (15, 5, 20)
    assert (config.runner_concurrency, config.running_turns_per_user, config.queue_depth) == (32, 3, 20)
    assert config.model == ("offline:",)
    assert not config.secure


def test_an_empty_variable_is_an_unset_one(read: Reader) -> None:
    assert read(PORT="", DATABASE_URL="").port == 8000


def test_everything_set_is_understood(read: Reader) -> None:
    config = read(
        **ELSEWHERE,
        BANDSTAND_PUBLIC_URL="https://chat.example.org/",
        BANDSTAND_TRUSTED_PROXIES="10.0.0.0/8, 192.168.1.5",
        BANDSTAND_MODEL="openai:a,offline:",
        ALLOWED_HOSTS="a.example.org , b.example.org",
        CSRF_TRUSTED_ORIGINS="https://a.example.org",
    )
    assert not config.embedded
    assert config.public_url == "https://chat.example.org"
    assert config.secure
    assert [str(network) for network in config.trusted_proxies] == ["10.0.0.0/8", "192.168.1.5/32"]
    assert config.model == ("openai:a", "offline:")
    assert config.allowed_hosts == ("a.example.org", "b.example.org")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BANDSTAND_NO_SUCH_THING", "1"),
        ("BANDSTAND_WATCHDOG_WEBHOOK", "ftp://canary.example.org/x"),
        ("BANDSTAND_HEARTBEAT_URL", "https://0x7f.1/canary"),
        ("BANDSTAND_DISK_FULL_PERCENT", "101"),
        ("BANDSTAND_MODEL_FILE", "/dev/null"),
        ("PORT", "abc"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("WEB", "0"),
        ("RUNNERS", "-1"),
        ("LOG_LEVEL", "LOUD"),
        ("DATABASE_URL", "mysql://user:canary-password@host/x"),
        ("BANDSTAND_LEASE_SECONDS", "soon"),
        ("BANDSTAND_LEASE_SECONDS", "nan"),
        ("BANDSTAND_LEASE_SECONDS", "10"),
        ("BANDSTAND_HEARTBEAT_SECONDS", "0"),
        ("BANDSTAND_RUNNER_CONCURRENCY", "1.5"),
        ("BANDSTAND_DRAIN_SECONDS", "-1"),
        ("BANDSTAND_BREAKER_FAILURES", "0"),
        ("BANDSTAND_BREAKER_FAILED_PERCENT", "101"),
        ("BANDSTAND_BREAKER_WINDOW_SECONDS", "1"),
        ("BANDSTAND_BREAKER_MAX_OPEN_SECONDS", "14"),
        ("BANDSTAND_RATE_RESERVE_PERCENT", "nan"),
        ("BANDSTAND_TRUSTED_PROXIES", "10.0.0.0/99"),
        ("BANDSTAND_PUBLIC_URL", "chat.example.org"),
        ("BANDSTAND_PUBLIC_URL", "http://chat.example.org"),
        ("BANDSTAND_PUBLIC_URL", "https://chat.example.org/path"),
        ("CSRF_TRUSTED_ORIGINS", "chat.example.org"),
        ("BANDSTAND_PRICES", "openai:gpt-5-mini=canary/NaN"),
        ("OPENAI_BASE_URL", "ftp://models.example.org"),
        ("OPENAI_BASE_URL", "http://user:canary-password@models.example.org"),
        ("BANDSTAND_MODEL", " , "),
        ("BANDSTAND_MODEL", "canary-5-mini"),
        ("BANDSTAND_MODEL", "canary:5-mini"),
        ("SECRET_KEY", "canary-too-short"),
        ("SECRET_KEY", "canary" * 20),
        ("BANDSTAND_KEY_PEPPER", "canary-too-short"),
        ("BANDSTAND_ENCRYPTION_KEY", "canary-not-base64!"),
        ("BANDSTAND_ENCRYPTION_KEY_FILE", "/canary/no/such/file"),
        ("BANDSTAND_ENV_FILE", "/canary/no/such/file"),
    ],
)
def test_what_is_wrong_is_named_in_one_line_without_its_value(read: Reader, name: str, value: str) -> None:
    rest = ELSEWHERE if name == "DATABASE_URL" else {}
    (fault,) = faults(read, **{**rest, name: value})
    assert fault.startswith(f"{name}: ")
    assert "canary" not in fault
    assert "\n" not in fault


def test_all_faults_are_told_at_once(read: Reader) -> None:
    told = faults(read, PORT="x", BANDSTAND_X="1", WEB="none")
    assert [line.split(":")[0] for line in told] == ["BANDSTAND_X", "PORT", "WEB"]


def test_https_needs_the_proxy_that_ends_it(read: Reader) -> None:
    (fault,) = faults(read, BANDSTAND_PUBLIC_URL="https://chat.example.org")
    assert fault.startswith("BANDSTAND_TRUSTED_PROXIES: ")


@pytest.mark.parametrize("name", ["SECRET_KEY", "BANDSTAND_KEY_PEPPER", "BANDSTAND_ENCRYPTION_KEY"])
def test_a_database_elsewhere_needs_keys_from_the_environment(read: Reader, name: str) -> None:
    (fault,) = faults(read, **{**ELSEWHERE, name: ""})
    assert fault.startswith(f"{name}: must be set when DATABASE_URL is")


@pytest.mark.parametrize("name", configuration.secret_variables())
def test_each_secret_may_come_from_a_file(read: Reader, tmp_path: Path, name: str) -> None:
    known = ELSEWHERE | {"EMAIL_URL": "smtp://mail.example.org", "OTEL_EXPORTER_OTLP_HEADERS": "x-key=value"}
    known |= dict.fromkeys(("BANDSTAND_WATCHDOG_WEBHOOK", "BANDSTAND_HEARTBEAT_URL"), "https://hooks.example.org/x")
    value = known.get(name.removesuffix("_PREVIOUS"), "https://key@sentry.example.org/1")
    (tmp_path / "secret").write_text(f"{value}\n")
    config = read(**{**ELSEWHERE, **MAIL, name: "", f"{name}_FILE": str(tmp_path / "secret")})
    field = next(key for key, field in Config.model_fields.items() if field.alias == name)
    assert getattr(config, field).get_secret_value() == value


def test_a_secret_given_twice_is_refused(read: Reader, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (fault,) = faults(read, SECRET_KEY=SECRET, SECRET_KEY_FILE=str(tmp_path / "secret"))
    assert fault.startswith("SECRET_KEY_FILE: ")


def test_secrets_do_not_print(read: Reader) -> None:
    config = read(**ELSEWHERE, OPENAI_API_KEY="canary-key")
    assert "canary" not in repr(config)
    assert "canary" not in str(config)


def test_the_configuration_cannot_be_changed(read: Reader) -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().port = 1


def test_a_file_beside_the_clone_is_read_and_the_environment_wins(read: Reader, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=9001\nHOST=localhost\n")
    config = read(BANDSTAND_ENV_FILE=str(tmp_path / ".env"), PORT="9002")
    assert (config.host, config.port) == ("localhost", 9002)


def test_an_unknown_name_in_the_file_is_refused_too(read: Reader, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BANDSTAND_TYPO=1\n")
    (fault,) = faults(read, BANDSTAND_ENV_FILE=str(tmp_path / ".env"))
    assert fault.startswith("BANDSTAND_TYPO: ")


@pytest.mark.parametrize(
    ("given", "model"),
    [
        ({}, "offline:"),
        ({"OPENAI_API_KEY": "sk-1"}, "openai:gpt-5-mini"),
        ({"OPENAI_API_KEY": "sk-1", "BANDSTAND_MODEL": "offline:"}, "offline:"),
        ({"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"}, "offline:"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"}, "offline:"),
        ({"ANTHROPIC_API_KEY": "sk-1"}, "offline:"),
    ],
)
def test_a_key_alone_brings_its_model(read: Reader, given: dict[str, str], model: str) -> None:
    assert read(**given).model == (model,)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "put OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": "sk-canary"}, "Model:    openai:gpt-5-mini "),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"}, "BANDSTAND_MODEL=openai:"),
        ({"ANTHROPIC_API_KEY": "sk-canary"}, "BANDSTAND_MODEL=anthropic:"),
        ({"GOOGLE_API_KEY": "sk-canary"}, "BANDSTAND_MODEL=google:"),
    ],
)
def test_the_greeting_says_the_next_step_to_a_real_model(read: Reader, given: dict[str, str], said: str) -> None:
    greeting = "\n".join(lines(read(**given), first=False))
    assert said in greeting
    assert "docs/models.md" in greeting or "start again" in greeting
    assert "canary" not in greeting


@pytest.mark.parametrize(
    ("given", "dimensions"),
    [
        ({"BANDSTAND_EMBEDDINGS": "openai:text-embedding-3-small"}, 1536),
        ({"BANDSTAND_EMBEDDINGS": "openai:text-embedding-3-large", "BANDSTAND_EMBEDDING_DIMENSIONS": "256"}, 256),
        ({"BANDSTAND_EMBEDDINGS": "openai:nomic-embed-text:v1.5", "BANDSTAND_EMBEDDING_DIMENSIONS": "768"}, 768),
    ],
)
def test_a_servers_embeddings_have_a_known_length(read: Reader, given: dict[str, str], dimensions: int) -> None:
    config = read(OPENAI_API_KEY="sk-canary", **given)
    assert config.embeddings.server_dimensions(config.embedding_dimensions) == dimensions


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"BANDSTAND_EMBEDDINGS": "openai:canary-embed"}, "BANDSTAND_EMBEDDING_DIMENSIONS"),
        (
            {"BANDSTAND_EMBEDDINGS": "openai:text-embedding-3-small", "BANDSTAND_EMBEDDING_DIMENSIONS": "1537"},
            "BANDSTAND_EMBEDDING_DIMENSIONS",
        ),
        (
            {"BANDSTAND_EMBEDDINGS": "openai:text-embedding-ada-002", "BANDSTAND_EMBEDDING_DIMENSIONS": "512"},
            "BANDSTAND_EMBEDDING_DIMENSIONS",
        ),
        ({"BANDSTAND_EMBEDDING_DIMENSIONS": "384"}, "BANDSTAND_EMBEDDING_DIMENSIONS"),
        ({"BANDSTAND_EMBEDDINGS": "openai:canary canary"}, "BANDSTAND_EMBEDDINGS"),
        ({"BANDSTAND_EMBEDDINGS": "minilm:canary"}, "BANDSTAND_EMBEDDINGS"),
    ],
)
def test_embeddings_that_cannot_work_are_refused(read: Reader, given: dict[str, str], named: str) -> None:
    (fault,) = faults(read, OPENAI_API_KEY="sk-canary", **given)
    assert fault.startswith(f"{named}: ")
    assert "canary" not in fault


def test_a_servers_embeddings_need_a_key_or_a_server(read: Reader) -> None:
    (fault,) = faults(read, BANDSTAND_EMBEDDINGS="openai:text-embedding-3-small")
    assert fault.startswith("OPENAI_API_KEY: ")


def test_a_vendor_that_is_not_installed_is_refused_with_what_to_do(
    read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "is_installed", lambda provider: provider != "bedrock")
    assert read(BANDSTAND_MODEL="google:gemini-2.5-flash,anthropic:claude-sonnet-5").model[1].startswith("anthropic:")
    (fault,) = faults(read, BANDSTAND_MODEL="offline:,bedrock:x")
    assert fault.startswith("BANDSTAND_MODEL: names bedrock:, whose libraries are not installed: ")
    assert "make run VENDORS=1" in fault


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.org", MailServer("mail.example.org", 587, Encryption.STARTTLS)),
        ("smtps://me%40x:p%40ss%2F@mail:4650/", MailServer("mail", 4650, Encryption.TLS, "me@x", "p@ss/")),
        ("smtp+plain://127.0.0.1", MailServer("127.0.0.1", 25, Encryption.NONE)),
    ],
)
def test_a_mail_server_is_one_address(read: Reader, url: str, server: MailServer) -> None:
    config = read(EMAIL_URL=url, **MAIL)
    assert config.mail_server == server
    assert server.password in ("", *secrets_in_use(config))


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"EMAIL_URL": "http://canary", **MAIL}, "EMAIL_URL: must be smtp://…, smtps://…, smtp+plain://…, with a host"),
        ({"EMAIL_URL": "smtp://canary:x@mail:99999", **MAIL}, "EMAIL_URL: must be an address as in smtp://"),
        ({"EMAIL_URL": "smtp://canary@mail", **MAIL}, "EMAIL_URL: must hold a user name and a password, or neither"),
        ({"EMAIL_URL": "smtp+plain://canary:x@mail", **MAIL}, "EMAIL_URL: must be smtp:// or smtps:// where there is"),
        ({"EMAIL_URL": "smtp://mail"}, "EMAIL_FROM: must be set when EMAIL_URL is"),
        ({"EMAIL_URL": "smtp://mail", "EMAIL_FROM": "canary"}, "EMAIL_FROM: must be an address"),
        ({"EMAIL_URL": "smtp://mail", "EMAIL_FROM": "a@b\nBcc: canary@x"}, "EMAIL_FROM: must be an address"),
        ({"EMAIL_URL": "smtp://mail", **MAIL, "HOST": "0.0.0.0"}, "BANDSTAND_PUBLIC_URL: must be set when EMAIL_URL"),
    ],
)
def test_mail_that_could_not_be_sent_is_refused_at_the_start(read: Reader, given: dict[str, str], fault: str) -> None:
    (told,) = faults(read, **given)
    assert told.startswith(fault)
    assert "canary" not in told


def test_made_keys_are_private_and_stay_the_same(read: Reader, tmp_path: Path) -> None:
    installation_secrets.make(tmp_path / "data")
    first = read()
    installation_secrets.make(tmp_path / "data")
    assert read().secrets() == first.secrets()
    assert len(set(first.secrets())) == 3
    folder = tmp_path / "data" / installation_secrets.FOLDER
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_made_key_is_rotated_by_a_file_beside_it(read: Reader, tmp_path: Path) -> None:
    installation_secrets.make(tmp_path / "data")
    old = read().secret_key
    folder = tmp_path / "data" / installation_secrets.FOLDER
    (folder / "secret_key").rename(folder / "secret_key.previous")
    installation_secrets.make(tmp_path / "data")
    config = read()
    assert config.secret_key_previous == old
    assert config.secret_key != old


def test_a_lost_key_is_never_replaced_behind_the_data(read: Reader, tmp_path: Path) -> None:
    installation_secrets.make(tmp_path / "data")
    (tmp_path / "data" / "postgres.json").write_text("{}")
    (tmp_path / "data" / installation_secrets.FOLDER / "bandstand_key_pepper").unlink()
    (fault,) = faults(read)
    assert fault.startswith("BANDSTAND_KEY_PEPPER: its file in ")


def test_the_example_has_a_line_for_each_variable_and_no_other() -> None:
    example = (ROOT / ".env.example").read_text()
    lines = re.findall(r"^#?([A-Z][A-Z_]+)=", example, flags=re.MULTILINE)
    assert sorted(lines) == sorted(configuration.variables())


def test_the_examples_defaults_are_the_defaults(read: Reader, tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text()
    elsewhere = {
        "DATABASE_URL",
        "BANDSTAND_PUBLIC_URL",
        "BANDSTAND_TRUSTED_PROXIES",
        "BANDSTAND_MODEL",
        "BANDSTAND_DIALECT",
        "BANDSTAND_PRICES",
        "EMAIL_URL",
        "EMAIL_FROM",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    }
    lines = re.findall(r"^#([A-Z][A-Z_]+=.+)$", example, flags=re.MULTILINE)
    shown = [line for line in lines if line.split("=")[0] not in elsewhere | {"BANDSTAND_DATA_DIR"}]
    (tmp_path / ".env").write_text("\n".join(shown))
    named = read(BANDSTAND_ENV_FILE=str(tmp_path / ".env")).model_dump()
    default = read(BANDSTAND_ENV_FILE=os.devnull).model_dump()
    ignored = {"env_file", "secret_key", "key_pepper", "encryption_key"}  # the last three are random here
    assert {k: v for k, v in named.items() if k not in ignored} == {
        k: v for k, v in default.items() if k not in ignored
    }


WILD = [
    "canary", "-1", "0", "1.5", "NaN", "Infinity", "1e999", "9" * 5000, "0x10", "1_0", "٣", "true", "null", "{}", "[]",
    "canary-" + "x" * 5000, "canary,,canary", "canary\nPORT=1", "\x1b[31mcanary", "\udcffcanary", "../canary",
    "/dev/null", "http://canary:canary@x", "https://canary/path?x#y", "postgresql://canary", "postgresql://[canary",
    "http://[::canary", "$(canary)", "{canary}", "%(canary)s", "10.0.0.0/99", "::/0", "openai:", ":", "a:b,",
]  # fmt: skip


def wild_values() -> Iterator[tuple[str, list[str]]]:
    """Every variable: the first of a type with all values, the others of that type with the first few."""
    types: set[str] = set()
    for field in Config.model_fields.values():
        kind = repr((field.annotation, field.metadata))
        yield str(field.alias), WILD[:8] if kind in types else WILD
        types.add(kind)


@pytest.mark.parametrize(("name", "values"), [pytest.param(*each, id=each[0]) for each in wild_values()])
def test_no_wild_value_does_more_than_refuse_the_start(read: Reader, name: str, values: list[str]) -> None:
    for value in values:
        for fault in _faults_if_any(read, name, value):
            assert fault.isprintable(), (value, fault)
            assert "canary" not in fault, (value, fault)
            # Its own, or that of one that it contradicts or leaves without a value.
            assert fault.startswith((f"{name}:", f"{name}_")) or re.match(r"[A-Z_]+: must ", fault), (value, fault)


def _faults_if_any(read: Reader, name: str, value: str) -> tuple[str, ...]:
    try:
        read(**{name: value})
    except ConfigError as error:
        return error.faults
    return ()


def test_a_file_that_is_no_text_is_refused(read: Reader, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"PORT=\xff\xfe")
    assert faults(read, BANDSTAND_ENV_FILE=str(file)) == ("BANDSTAND_ENV_FILE: the file it names cannot be read",)
