"""The last lines of a start: where it is, who gets in, what it talks to."""

from collections.abc import Iterator

from bandstand.config import DEFAULT_MODEL, Config

LOGIN_FILE = "login.txt"


def lines(config: Config, *, first: bool) -> Iterator[str]:
    """What to print. The password itself only on the start that made it."""
    yield ""
    yield f"  Bandstand is ready: {config.base_url}/   (console: {config.base_url}/admin/)"
    yield from _login(config, first=first)
    yield from _model(config)
    yield from _reach(config)
    yield f"  Logs:     {config.data_dir / 'logs'}"
    yield "  Ctrl-C stops everything."
    yield ""


def _login(config: Config, *, first: bool) -> Iterator[str]:
    path = config.data_dir / LOGIN_FILE
    try:
        entries = dict(line.split(": ", 1) for line in path.read_text(encoding="utf-8").splitlines() if ": " in line)
    except OSError:
        yield "  Login:    with an account of this installation"
        return
    password = f"   password: {entries.get('password', '')}" if first else ""
    yield f"  Login:    {entries.get('name', 'owner')}{password}   (kept in {path})"


def _model(config: Config) -> Iterator[str]:
    if config.model == (DEFAULT_MODEL,):
        yield "  Model:    the built-in offline model. To connect a real one set OPENAI_API_KEY, or OPENAI_BASE_URL for"
        yield "            any OpenAI-compatible server, and BANDSTAND_MODEL (.env.example says how), and start again"
    else:
        yield f"  Model:    {', '.join(config.model)}"


def _reach(config: Config) -> Iterator[str]:
    if config.secure and not config.base_url.startswith("https:"):
        yield "  Warning:  HOST reaches beyond this machine and BANDSTAND_PUBLIC_URL is not set: browsers can sign in"
        yield "            only over https, through a proxy; see .env.example"
