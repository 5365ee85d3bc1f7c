"""Every setting: the one typed reading of the environment.

Every variable is a field of :class:`Config`. An unknown variable, an invalid value or two contradicting values prevent
the start, with one line per fault that names the variable and never repeats a value.
"""

import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from agents.domain.circuit_breaker import BreakerPolicy
from agents.llm.dialect_settings import Dialects, read_dialects
from agents.llm.interface import Deadlines
from agents.llm.model_catalog import Rates, read_overrides
from agents.llm.routes import HOW_TO_INSTALL, PROVIDERS, VENDORS, is_installed
from agents.routing.guard_settings import GuardSettings, RouteFigures
from bandstand import installation_secrets
from bandstand.email_url import MailServer, check_sender, read_server
from bandstand.web.body_limit import COMPLETION_BYTES, MAX_COMPLETION_BYTES
from memory.embeddings.embedding_settings import MAX_DIMENSIONS, EmbedderKind, EmbeddingSettings, read_embeddings
from memory.recall_weights import Weights, read_weights
from monitoring.otlp.otlp_settings import HOW_TO_INSTALL as HOW_TO_INSTALL_OTLP
from monitoring.otlp.otlp_settings import is_installed as is_otlp_installed
from monitoring.otlp.otlp_settings import read_headers

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_MODEL = "offline:"
DEFAULT_OPENAI_MODEL = "openai:gpt-5-mini"
MIN_TOKEN_LENGTH = 20
MIN_SECRET_LENGTH = 50  # what `manage.py check --deploy` asks of a Django secret key
EXIT_CONFIG = 78  # sysexits.h: EX_CONFIG
MEBIBYTE = 1024 * 1024

IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
ProcessRole: TypeAlias = Literal["web", "runner", "scheduler", "command"]


class ConfigError(Exception):
    """The environment cannot be used.

    `faults` holds one printable line per fault; each names its variable and none holds a value.
    """

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


def _split_list(value: object) -> object:
    if isinstance(value, str):
        return tuple(item for part in value.split(",") if (item := part.strip()))
    return value


def _networks(value: object) -> object:
    items = _split_list(value)
    if not isinstance(items, tuple):
        return items
    try:
        return tuple(ipaddress.ip_network(item, strict=False) for item in items)
    except ValueError:
        raise ValueError("must be addresses or networks, as in 10.0.0.0/8, 192.168.1.5") from None


def _expanded(value: Path) -> Path:
    return value.expanduser().absolute()


def _otlp_headers(value: SecretStr) -> SecretStr:
    read_headers(value.get_secret_value())
    return value


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https address")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password")
    return value.rstrip("/")


def _origin(value: str) -> str:
    address = _web_address(value)
    if urlsplit(address).path or urlsplit(address).query or urlsplit(address).fragment:
        raise ValueError("must be scheme, host and port only, as in https://chat.example.org")
    return address


def _long_enough(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    if len(secret) < MIN_SECRET_LENGTH or len(set(secret)) < 10:
        raise ValueError(f"must be at least {MIN_SECRET_LENGTH} random characters ({installation_secrets.RECIPE})")
    return value


def _header_token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value()
    if len(token) < MIN_TOKEN_LENGTH or not all("!" <= character <= "~" for character in token):
        raise ValueError(
            f"must be at least {MIN_TOKEN_LENGTH} letters, digits and signs without spaces "
            f"({installation_secrets.RECIPE})"
        )
    return value


def _hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    for item in value:
        try:
            parts = urlsplit(f"//{item}")
            port = parts.port
        except ValueError:
            port = None
        if not port or item != item.lower() or parts.netloc != item or "@" in item or not parts.hostname:
            raise ValueError("must be hosts with their ports, as in hooks.example.internal:8443, 10.0.0.5:9000")
    return value


def _encryption_key(value: SecretStr) -> SecretStr:
    installation_secrets.check_encryption_key(value.get_secret_value())
    return value


def _database(value: SecretStr) -> SecretStr:
    if urlsplit(value.get_secret_value()).scheme not in {"postgresql", "postgres"}:
        raise ValueError("must be a postgresql:// address")
    return value


def _secret_address(value: SecretStr) -> SecretStr:
    from foundation.http import AddressRefused, parse_target

    address = value.get_secret_value()
    _web_address(address)
    try:
        parse_target(address)
    except AddressRefused as error:
        raise ValueError(f"must be an http or https address: {error.detail}") from None
    return value


def _mail_server(value: SecretStr) -> SecretStr:
    read_server(value.get_secret_value())
    return value


def _models(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("must name at least one model")
    if not all(":" in route for route in value):
        raise ValueError("must be a list of routes, as in openai:gpt-5-mini,offline:")
    for route in value:
        provider = route.partition(":")[0]
        if provider not in PROVIDERS:
            raise ValueError(f"must name providers among {', '.join(PROVIDERS)}, as in openai:gpt-5-mini,offline:")
        if provider in VENDORS and not is_installed(provider):
            raise ValueError(f"names {provider}:, whose libraries are not installed: {HOW_TO_INSTALL}")
    return value


def _dialects(value: object) -> object:
    return read_dialects(value) if isinstance(value, str) else value


def _embeddings(value: object) -> object:
    return read_embeddings(value) if isinstance(value, str) else value


def _weights(value: object) -> object:
    return read_weights(value) if isinstance(value, str) else value


def _prices(value: object) -> object:
    return read_overrides(value) if isinstance(value, str) else value


TextList: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_list)]
Address: TypeAlias = Annotated[str, AfterValidator(_web_address)]
Origin: TypeAlias = Annotated[str, AfterValidator(_origin)]
LongSecret: TypeAlias = Annotated[SecretStr, AfterValidator(_long_enough)]
HeaderToken: TypeAlias = Annotated[SecretStr, AfterValidator(_header_token)]
EncryptionKey: TypeAlias = Annotated[SecretStr, AfterValidator(_encryption_key)]
SecretAddress: TypeAlias = Annotated[SecretStr, AfterValidator(_secret_address)]
MailUrl: TypeAlias = Annotated[SecretStr, AfterValidator(_mail_server)]
DatabaseUrl: TypeAlias = Annotated[SecretStr, AfterValidator(_database)]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=1000)]
# 0 is no limit.
Limit: TypeAlias = Annotated[int, Field(ge=0, le=1_000_000)]
MemoryLimit: TypeAlias = Annotated[int, Field(ge=10, le=10_000_000)]
Connections: TypeAlias = Annotated[int, Field(ge=0, le=10_000)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=3600)]
Days: TypeAlias = Annotated[int, Field(ge=1, le=3650)]
Percent: TypeAlias = Annotated[float, Field(ge=1, le=100)]

_BREAKER = BreakerPolicy()


class Config(BaseSettings):
    """The configuration of this process. Immutable; durations are in seconds, secrets print as asterisks.

    Build it with :func:`load`, which also checks combinations of fields.
    """

    model_config = SettingsConfigDict(
        case_sensitive=True, env_ignore_empty=True, env_file_encoding="utf-8", extra="ignore", frozen=True
    )

    # The database, the data directory and the secrets.
    database_url: DatabaseUrl | None = Field(None, alias="DATABASE_URL")
    # Must exceed the number of database, listener and periodic threads of a process.
    database_pool_size: Count = Field(14, alias="BANDSTAND_DATABASE_POOL_SIZE")
    data_dir: Annotated[Path, AfterValidator(_expanded)] = Field(ROOT / "var", alias="BANDSTAND_DATA_DIR")
    secret_key: LongSecret = Field(alias="SECRET_KEY")
    secret_key_previous: LongSecret | None = Field(None, alias="SECRET_KEY_PREVIOUS")
    key_pepper: LongSecret = Field(alias="BANDSTAND_KEY_PEPPER")
    key_pepper_previous: LongSecret | None = Field(None, alias="BANDSTAND_KEY_PEPPER_PREVIOUS")
    encryption_key: EncryptionKey = Field(alias="BANDSTAND_ENCRYPTION_KEY")
    encryption_key_previous: EncryptionKey | None = Field(None, alias="BANDSTAND_ENCRYPTION_KEY_PREVIOUS")

    # Network access.
    host: str = Field("127.0.0.1", alias="HOST")
    port: Port = Field(8000, alias="PORT")
    public_url: Origin | None = Field(None, alias="BANDSTAND_PUBLIC_URL")
    trusted_proxies: Annotated[tuple[IPNetwork, ...], NoDecode, BeforeValidator(_networks)] = Field(
        (), alias="BANDSTAND_TRUSTED_PROXIES"
    )
    allowed_hosts: TextList = Field((), alias="ALLOWED_HOSTS")
    csrf_trusted_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_split_list)] = Field(
        (), alias="CSRF_TRUSTED_ORIGINS"
    )

    # Processes.
    role: ProcessRole = Field("command", alias="BANDSTAND_ROLE")
    web_processes: Count = Field(1, alias="WEB")
    runner_processes: Annotated[int, Field(ge=0, le=100)] = Field(1, alias="RUNNERS")

    # Turns.
    model: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_list), AfterValidator(_models)] = Field(
        (DEFAULT_MODEL,), alias="BANDSTAND_MODEL"
    )
    openai_api_key: SecretStr | None = Field(None, alias="OPENAI_API_KEY")
    openai_base_url: Address | None = Field(None, alias="OPENAI_BASE_URL")
    anthropic_api_key: SecretStr | None = Field(None, alias="ANTHROPIC_API_KEY")
    anthropic_base_url: Address | None = Field(None, alias="ANTHROPIC_BASE_URL")
    google_api_key: SecretStr | None = Field(None, alias="GOOGLE_API_KEY")
    google_base_url: Address | None = Field(None, alias="GOOGLE_GEMINI_BASE_URL")
    aws_region: str | None = Field(None, alias="AWS_REGION")
    dialects: Annotated[Dialects, NoDecode, BeforeValidator(_dialects)] = Field(Dialects(), alias="BANDSTAND_DIALECT")
    model_connect_seconds: Seconds = Field(Deadlines().connect_seconds, alias="BANDSTAND_MODEL_CONNECT_SECONDS")
    model_first_token_seconds: Seconds = Field(
        Deadlines().first_token_seconds, alias="BANDSTAND_MODEL_FIRST_TOKEN_SECONDS"
    )
    model_silence_seconds: Seconds = Field(Deadlines().silence_seconds, alias="BANDSTAND_MODEL_SILENCE_SECONDS")
    model_total_seconds: Seconds = Field(Deadlines().total_seconds, alias="BANDSTAND_MODEL_TOTAL_SECONDS")
    retry_base_seconds: Annotated[float, Field(ge=0, le=20)] = Field(0.5, alias="BANDSTAND_RETRY_BASE_SECONDS")
    retry_adaptation: bool = Field(True, alias="BANDSTAND_RETRY_ADAPTATION")
    prices: Annotated[dict[str, Rates], NoDecode, BeforeValidator(_prices)] = Field({}, alias="BANDSTAND_PRICES")
    runner_concurrency: Count = Field(32, alias="BANDSTAND_RUNNER_CONCURRENCY")
    lease_seconds: Seconds = Field(15, alias="BANDSTAND_LEASE_SECONDS")
    heartbeat_seconds: Seconds = Field(5, alias="BANDSTAND_HEARTBEAT_SECONDS")
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(20, alias="BANDSTAND_DRAIN_SECONDS")
    compute_memory_mb: Annotated[int, Field(ge=16, le=65_536)] = Field(256, alias="BANDSTAND_COMPUTE_MEMORY_MB")
    liveness_file: Path | None = Field(None, alias="BANDSTAND_LIVENESS_FILE")
    running_turns_per_user: Count = Field(3, alias="BANDSTAND_RUNNING_TURNS_PER_USER")
    queue_depth: Count = Field(20, alias="BANDSTAND_QUEUE_DEPTH")
    completion_mebibytes: Annotated[int, Field(ge=1, le=MAX_COMPLETION_BYTES // MEBIBYTE)] = Field(
        COMPLETION_BYTES // MEBIBYTE, alias="BANDSTAND_COMPLETION_MEBIBYTES"
    )
    client_session_hours: Count = Field(24, alias="BANDSTAND_CLIENT_SESSION_HOURS")
    schedules_per_user: Count = Field(50, alias="BANDSTAND_SCHEDULES_PER_USER")
    schedule_minutes: Annotated[int, Field(ge=1, le=1440)] = Field(15, alias="BANDSTAND_SCHEDULE_MINUTES")

    # The circuit breakers of routes, and what is respected of providers' limits; see `agents.routing`.
    breaker_failures: Count = Field(_BREAKER.failures, alias="BANDSTAND_BREAKER_FAILURES")
    breaker_window_seconds: Annotated[float, Field(ge=10, le=3600)] = Field(
        _BREAKER.window_seconds, alias="BANDSTAND_BREAKER_WINDOW_SECONDS"
    )
    breaker_min_calls: Count = Field(_BREAKER.min_calls, alias="BANDSTAND_BREAKER_MIN_CALLS")
    breaker_failed_percent: Percent = Field(_BREAKER.failed_share * 100, alias="BANDSTAND_BREAKER_FAILED_PERCENT")
    breaker_slow_percent: Percent = Field(_BREAKER.slow_share * 100, alias="BANDSTAND_BREAKER_SLOW_PERCENT")
    breaker_slow_seconds: Seconds = Field(RouteFigures().slow_seconds, alias="BANDSTAND_BREAKER_SLOW_SECONDS")
    breaker_open_seconds: Seconds = Field(_BREAKER.open_seconds, alias="BANDSTAND_BREAKER_OPEN_SECONDS")
    breaker_max_open_seconds: Seconds = Field(_BREAKER.max_open_seconds, alias="BANDSTAND_BREAKER_MAX_OPEN_SECONDS")
    breaker_successes: Annotated[int, Field(ge=1, le=20)] = Field(
        _BREAKER.successes, alias="BANDSTAND_BREAKER_SUCCESSES"
    )
    breaker_probe_seconds: Seconds = Field(RouteFigures().probe_seconds, alias="BANDSTAND_BREAKER_PROBE_SECONDS")
    credential_pause_seconds: Seconds = Field(
        GuardSettings().credential_seconds, alias="BANDSTAND_CREDENTIAL_PAUSE_SECONDS"
    )
    rate_reserve_percent: Annotated[float, Field(ge=0, le=50)] = Field(
        GuardSettings().reserve_share * 100, alias="BANDSTAND_RATE_RESERVE_PERCENT"
    )
    rate_wait_seconds: Annotated[float, Field(ge=0, le=60)] = Field(
        GuardSettings().max_pace_seconds, alias="BANDSTAND_RATE_WAIT_SECONDS"
    )

    # Memory; see `memory.writing`. The language is a text search configuration of PostgreSQL.
    memory_language: Annotated[str, Field(pattern=r"^[a-z_]{1,63}$")] = Field(
        "english", alias="BANDSTAND_MEMORY_LANGUAGE"
    )
    memory_episodes_per_owner: MemoryLimit = Field(50_000, alias="BANDSTAND_MEMORY_EPISODES_PER_OWNER")
    memory_facts_per_owner: MemoryLimit = Field(5_000, alias="BANDSTAND_MEMORY_FACTS_PER_OWNER")
    memory_extractions_per_day: Limit = Field(200, alias="BANDSTAND_MEMORY_EXTRACTIONS_PER_DAY")
    memory_weights: Annotated[Weights, NoDecode, BeforeValidator(_weights)] = Field(
        Weights(), alias="BANDSTAND_MEMORY_WEIGHTS"
    )
    embeddings: Annotated[EmbeddingSettings, NoDecode, BeforeValidator(_embeddings)] = Field(
        EmbeddingSettings(), alias="BANDSTAND_EMBEDDINGS"
    )
    embedding_dimensions: Annotated[int, Field(ge=1, le=MAX_DIMENSIONS)] | None = Field(
        None, alias="BANDSTAND_EMBEDDING_DIMENSIONS"
    )

    # Rate limits; see `ratelimits`.
    requests_per_minute: Limit = Field(3000, alias="BANDSTAND_REQUESTS_PER_MINUTE")
    messages_per_minute: Limit = Field(600, alias="BANDSTAND_MESSAGES_PER_MINUTE")
    messages_per_hour: Limit = Field(0, alias="BANDSTAND_MESSAGES_PER_HOUR")
    messages_per_session_per_minute: Limit = Field(120, alias="BANDSTAND_MESSAGES_PER_SESSION_PER_MINUTE")
    stored_megabytes_per_day: Limit = Field(200, alias="BANDSTAND_STORED_MEGABYTES_PER_DAY")
    fork_megabytes: Annotated[int, Field(ge=1, le=1024)] = Field(16, alias="BANDSTAND_FORK_MEGABYTES")
    requests_at_once_per_user: Limit = Field(50, alias="BANDSTAND_REQUESTS_AT_ONCE_PER_USER")
    searches_at_once_per_user: Limit = Field(2, alias="BANDSTAND_SEARCHES_AT_ONCE_PER_USER")
    connections_per_user: Connections = Field(20, alias="BANDSTAND_CONNECTIONS_PER_USER")
    connections_per_key: Connections = Field(100, alias="BANDSTAND_CONNECTIONS_PER_KEY")
    # Lower than the limit per account, so that one address alone cannot lock an account.
    failed_logins_per_address: Limit = Field(20, alias="BANDSTAND_FAILED_LOGINS_PER_ADDRESS")
    failed_logins_per_account: Limit = Field(50, alias="BANDSTAND_FAILED_LOGINS_PER_ACCOUNT")
    bad_keys_per_minute: Limit = Field(60, alias="BANDSTAND_BAD_KEYS_PER_MINUTE")

    # For how many days things are kept; see `foundation.job_registry.Retention`.
    log_days: Days = Field(30, alias="BANDSTAND_LOG_DAYS")
    span_days: Annotated[int, Field(ge=1, le=365)] = Field(30, alias="BANDSTAND_SPAN_DAYS")
    sample_days: Annotated[int, Field(ge=8, le=3650)] = Field(14, alias="BANDSTAND_SAMPLE_DAYS")
    job_run_days: Days = Field(7, alias="BANDSTAND_JOB_RUN_DAYS")

    # E-mail and the audit trail.
    email_url: MailUrl | None = Field(None, alias="EMAIL_URL")
    email_from: Annotated[str, AfterValidator(check_sender)] | None = Field(None, alias="EMAIL_FROM")
    audit_days: Annotated[int, Field(ge=0, le=36_500)] = Field(730, alias="BANDSTAND_AUDIT_DAYS")

    # Notifications of alerts; see `monitoring.notifications`.
    alert_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_list), AfterValidator(_hosts)] = Field(
        (), alias="BANDSTAND_ALERT_HOSTS"
    )
    pagerduty_url: Address = Field("https://events.pagerduty.com/v2/enqueue", alias="BANDSTAND_PAGERDUTY_URL")

    # Logs, error reports and metrics.
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field("INFO", alias="LOG_LEVEL")
    log_format: Literal["auto", "json", "console"] = Field("auto", alias="BANDSTAND_LOG_FORMAT")
    log_megabytes: Annotated[int, Field(ge=4, le=1_000_000)] = Field(100, alias="BANDSTAND_LOG_MEGABYTES")
    sentry_dsn: SecretStr | None = Field(None, alias="SENTRY_DSN")
    otlp_endpoint: Address | None = Field(None, alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    otlp_headers: Annotated[SecretStr, AfterValidator(_otlp_headers)] | None = Field(
        None, alias="OTEL_EXPORTER_OTLP_HEADERS"
    )
    otel_service_name: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        "bandstand", alias="OTEL_SERVICE_NAME"
    )
    metrics_token: HeaderToken | None = Field(None, alias="BANDSTAND_METRICS_TOKEN")

    # The supervisor's watchdog; see `bandstand.supervisor.watchdog`. Such addresses are often keys themselves.
    watchdog_webhook: SecretAddress | None = Field(None, alias="BANDSTAND_WATCHDOG_WEBHOOK")
    heartbeat_url: SecretAddress | None = Field(None, alias="BANDSTAND_HEARTBEAT_URL")
    disk_full_percent: Percent = Field(95, alias="BANDSTAND_DISK_FULL_PERCENT")
    disk_free_megabytes: Annotated[int, Field(ge=0, le=1_000_000)] = Field(1024, alias="BANDSTAND_DISK_FREE_MEGABYTES")
    env_file: Path | None = Field(None, alias="BANDSTAND_ENV_FILE")

    @property
    def completion_bytes(self) -> int:
        """How large a request for a chat completion may be, in bytes."""
        return self.completion_mebibytes * MEBIBYTE

    @property
    def embedded(self) -> bool:
        """Whether the database is the embedded PostgreSQL below `data_dir`."""
        return self.database_url is None

    @property
    def runner_liveness_file(self) -> Path:
        """The file that a runner touches each second while it works."""
        return self.liveness_file or self.data_dir / "run" / "runner.alive"

    @property
    def scheduler_liveness_file(self) -> Path:
        """The file that the scheduler touches each second while it works."""
        return self.liveness_file or self.data_dir / "run" / "scheduler.alive"

    @property
    def base_url(self) -> str:
        """The public base URL, or else the local one."""
        if self.public_url:
            return self.public_url
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{host}:{self.port}"

    @property
    def secure(self) -> bool:
        """Whether browsers are expected to use TLS: always, except for plain HTTP on this machine."""
        return urlsplit(self.base_url).scheme == "https" or not (self.public_url or is_loopback(self.host))

    @property
    def mail_server(self) -> MailServer | None:
        """The SMTP server; None: no e-mail is sent, and links are shown in the console instead."""
        return read_server(self.email_url.get_secret_value()) if self.email_url else None

    def secrets(self) -> tuple[str, ...]:
        """Every secret value of the environment; `databases.secrets_in_use` adds the passwords within them."""
        return tuple(value.get_secret_value() for _, value in self if isinstance(value, SecretStr))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # we have `NAME_FILE` instead
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        files, generated, model = (
            SecretFilesSource(settings_cls),
            GeneratedSecretsSource(settings_cls),
            DefaultModelSource(settings_cls),
        )
        return init_settings, env_settings, dotenv_settings, files, generated, model

    @classmethod
    def read(cls, env_file: Path | None) -> Self:
        """Read the environment over `env_file`. Raises pydantic's ValidationError and ConfigError."""
        return cls(_env_file=env_file)  # type: ignore[call-arg]  # the required fields come from the sources


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def variables() -> tuple[str, ...]:
    """The names of all variables, without the `_FILE` forms of the secrets."""
    return tuple(str(field.alias) for field in Config.model_fields.values())


def secret_variables() -> tuple[str, ...]:
    """The names of the variables that can also be set as `NAME_FILE`, the path of a file with the value."""
    return tuple(str(field.alias) for field in Config.model_fields.values() if _is_secret(field))


class _ComputedSource(PydanticBaseSettingsSource):
    """A settings source that computes all of its values at once."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return None, field_name, False


class SecretFilesSource(_ComputedSource):
    """Reads secrets from files that `NAME_FILE` variables point to."""

    def __call__(self) -> dict[str, str]:
        env = _environment(_env_file())
        values, faults = {}, []
        for name in secret_variables():
            path = env.get(f"{name}_FILE")
            if not path:
                continue
            if env.get(name):
                faults.append(f"{name}_FILE: {name} is set as well; set one of the two")
                continue
            try:
                values[name] = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                faults.append(f"{name}_FILE: the file it names cannot be read")
                continue
            if not values[name]:
                faults.append(f"{name}_FILE: the file it names is empty")
        if faults:
            raise ConfigError(faults)
        return values


class GeneratedSecretsSource(_ComputedSource):
    """Reads the secrets that the first run generated in the data directory; only with the embedded database."""

    def __call__(self) -> dict[str, str]:
        state = self.current_state
        if state.get("DATABASE_URL"):
            return {}
        data_dir = _expanded(Path(state.get("BANDSTAND_DATA_DIR") or ROOT / "var"))
        try:
            missing = [name for name in installation_secrets.missing_keys(data_dir) if not state.get(name)]
            if missing:
                # Newly generated ones would invalidate every API key and stored credential.
                raise ConfigError(
                    f"{name}: its file in {data_dir / installation_secrets.FOLDER} is gone; restore it"
                    for name in missing
                )
            return installation_secrets.read(data_dir)
        except OSError:
            raise ConfigError(["BANDSTAND_DATA_DIR: the keys in it cannot be read by this user"]) from None


class DefaultModelSource(_ComputedSource):
    """Sets a default model when an OpenAI key is set and no model is."""

    def __call__(self) -> dict[str, str]:
        state = self.current_state
        # The models of a custom server (OPENAI_BASE_URL) are unknown.
        if not state.get("BANDSTAND_MODEL") and state.get("OPENAI_API_KEY") and not state.get("OPENAI_BASE_URL"):
            return {"BANDSTAND_MODEL": DEFAULT_OPENAI_MODEL}
        return {}


def _env_file() -> Path | None:
    named = os.environ.get("BANDSTAND_ENV_FILE")
    path = Path(named) if named else ROOT / ".env"
    try:
        if not path.is_file():
            return None
        path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        # `.env` in the repository is the default of BANDSTAND_ENV_FILE.
        raise ConfigError(["BANDSTAND_ENV_FILE: the file it names cannot be read"]) from None
    return path


def _environment(env_file: Path | None) -> dict[str, str | None]:
    return {**(dotenv_values(env_file, interpolate=False) if env_file else {}), **os.environ}


def _unknown(names: Iterable[str]) -> list[str]:
    expected = {*variables(), *(f"{name}_FILE" for name in secret_variables())}
    unknown = sorted(name for name in names if name.startswith("BANDSTAND_") and name not in expected)
    return [f"{name}: is not a variable of Bandstand (see .env.example)" for name in unknown]


def _fault(error: ErrorDetails) -> str:
    name = str(error["loc"][0]) if error["loc"] else "environment"
    if error["type"] == "missing":
        recipe = installation_secrets.RECIPES.get(name, installation_secrets.RECIPE)
        return f"{name}: must be set when DATABASE_URL is ({recipe})"
    message = error["msg"].removeprefix("Value error, ")
    return f"{name}: {message[:1].lower()}{message[1:]}"


def is_loopback(host: str) -> bool:
    """Whether `host` can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _contradictions(config: Config) -> Iterable[str]:
    if config.lease_seconds <= 2 * config.heartbeat_seconds:
        yield "BANDSTAND_LEASE_SECONDS: must be more than twice BANDSTAND_HEARTBEAT_SECONDS"
    if config.breaker_max_open_seconds < config.breaker_open_seconds:
        yield "BANDSTAND_BREAKER_MAX_OPEN_SECONDS: must be at least BANDSTAND_BREAKER_OPEN_SECONDS"
    if config.public_url and not config.public_url.startswith("https:"):
        if not is_loopback(urlsplit(config.public_url).hostname or ""):
            yield "BANDSTAND_PUBLIC_URL: must be https unless it names this machine (localhost)"
    elif config.public_url and not config.trusted_proxies:
        # Bandstand speaks plain HTTP: without trusting the proxy that terminates TLS about the scheme, every page
        # would redirect to itself for ever.
        yield "BANDSTAND_TRUSTED_PROXIES: must name the proxy that ends TLS for BANDSTAND_PUBLIC_URL"
    yield from _embedding_contradictions(config)
    if config.otlp_endpoint and not is_otlp_installed():
        yield f"OTEL_EXPORTER_OTLP_ENDPOINT: {HOW_TO_INSTALL_OTLP}"
    if config.email_url and not config.email_from:
        yield "EMAIL_FROM: must be set when EMAIL_URL is, as in Bandstand <chat@example.org>"
    if config.email_url and not (config.public_url or is_loopback(config.host)):
        yield "BANDSTAND_PUBLIC_URL: must be set when EMAIL_URL is: the links in mails begin with it"


def _embedding_contradictions(config: Config) -> Iterable[str]:
    if config.embeddings.kind is not EmbedderKind.OPENAI:
        if config.embedding_dimensions:
            yield "BANDSTAND_EMBEDDING_DIMENSIONS: is for BANDSTAND_EMBEDDINGS=openai:<model> only"
        return
    if not (config.openai_api_key or config.openai_base_url):
        yield "OPENAI_API_KEY: must be set for BANDSTAND_EMBEDDINGS=openai:<model>, or OPENAI_BASE_URL"
    try:
        config.embeddings.server_dimensions(config.embedding_dimensions)
    except ValueError as error:
        yield f"BANDSTAND_EMBEDDING_DIMENSIONS: {error}"


def load() -> Config:
    """Read the environment (and `.env`), or raise ConfigError with all faults."""
    env_file = _env_file()
    faults = _unknown(_environment(env_file))
    if (named := os.environ.get("BANDSTAND_ENV_FILE")) and not Path(named).exists():
        faults.append("BANDSTAND_ENV_FILE: the file it names does not exist")
    try:
        config = Config.read(env_file)
    except ValidationError as error:
        # A union reports each of its members; one line per variable is enough.
        lines = {str(detail["loc"][:1]): _fault(detail) for detail in reversed(error.errors(include_url=False))}
        raise ConfigError([*faults, *reversed(lines.values())]) from None
    except ConfigError as error:
        raise ConfigError([*faults, *error.faults]) from None
    faults.extend(_contradictions(config))
    if faults:
        raise ConfigError(faults)
    return config


def load_or_exit() -> Config:
    """Call :func:`load`; on faults, print them to stderr and exit with `EXIT_CONFIG`."""
    try:
        return load()
    except ConfigError as error:
        import sys

        for fault in error.faults:
            print(f"bandstand: {fault}", file=sys.stderr)
        raise SystemExit(EXIT_CONFIG) from None
