"""The lines printed after a start: URL, login, model, logs."""

from collections.abc import Iterator

from bandstand.config import DEFAULT_MODEL, Config
from foundation.private_files import OWNER_LOGIN_FILE

DOCS = "docs/models.md"


def lines(config: Config, *, first: bool) -> Iterator[str]:
    """The lines to print. The password is included only on the `first` start, which created it."""
    yield ""
    yield f"  Bandstand is ready: {config.base_url}/   (console: {config.base_url}/admin/)"
    yield from _login(config, first=first)
    yield from _model(config)
    yield from _reach(config)
    yield f"  Logs:     {config.data_dir / 'logs'}"
    yield "  Ctrl-C stops everything."
    yield ""


def _login(config: Config, *, first: bool) -> Iterator[str]:
    path = config.data_dir / OWNER_LOGIN_FILE
    try:
        entries = dict(line.split(": ", 1) for line in path.read_text(encoding="utf-8").split("\n") if ": " in line)
    except OSError:
        yield "  Login:    with an account of this installation"
        return
    password = f"   password: {entries.get('password', '')}" if first else ""
    yield f"  Login:    {entries.get('name', 'owner')}{password}   (kept in {path})"


def _model(config: Config) -> Iterator[str]:
    if config.model != (DEFAULT_MODEL,):
        yield f"  Model:    {', '.join(config.model)}   (BANDSTAND_MODEL; {DOCS} says what else there is)"
    elif config.openai_base_url:
        yield "  Model:    the built-in offline model. OPENAI_BASE_URL is set; name a model of that server as well, as"
        yield "            in BANDSTAND_MODEL=openai:llama3.3, and start again"
    elif key := _idle_key(config):
        yield f"  Model:    the built-in offline model. {key[0]} is set; name a model as well, as in"
        yield f"            BANDSTAND_MODEL={key[1]}, and start again"
    else:
        yield "  Model:    the built-in offline model. To connect a real one, put OPENAI_API_KEY (or OPENAI_BASE_URL"
        yield f"            and BANDSTAND_MODEL, for a server of your own) into .env and start again; see {DOCS}"


def _idle_key(config: Config) -> tuple[str, str] | None:
    """The variable of an API key that no configured model uses, and a route that would use it; or None."""
    if config.anthropic_api_key:
        return "ANTHROPIC_API_KEY", "anthropic:claude-sonnet-5"
    return ("GOOGLE_API_KEY", "google:gemini-2.5-flash") if config.google_api_key else None


def _reach(config: Config) -> Iterator[str]:
    if config.secure and not config.base_url.startswith("https:"):
        yield "  Warning:  HOST reaches beyond this machine and BANDSTAND_PUBLIC_URL is not set: browsers can sign in"
        yield "            only over https, through a proxy; see .env.example"
