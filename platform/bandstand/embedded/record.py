"""The state of a cluster between two starts, stored in the data directory (mode 0600)."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlencode

from bandstand.embedded.errors import EmbeddedError
from foundation.private_files import write_private

FILE = "postgres.json"
DATABASE = "bandstand"
ROLE = "bandstand"
PORT = 5432  # only part of the socket's name: the server does not listen on the network


@dataclass(frozen=True, slots=True)
class Record:
    """The location of a cluster and the password of its application role.

    `prepared` is true once role, database and extension exist; until then each start creates them.
    """

    home: str
    socket: str
    password: str
    installation: str
    data_dir: str
    prepared: bool = False

    @property
    def url(self) -> str:
        """The DATABASE_URL of the application role."""
        query = urlencode({"host": self.socket, "port": PORT})
        return f"postgresql://{ROLE}:{quote(self.password)}@/{DATABASE}?{query}"

    @property
    def superuser_url(self) -> str:
        """A URL without a password, for peer authentication."""
        return f"postgresql://postgres@/{DATABASE}?{urlencode({'host': self.socket, 'port': PORT})}"

    @classmethod
    def read(cls, data_dir: Path) -> Self | None:
        """The record below `data_dir`, or None before the first start. Raises EmbeddedError when it is damaged."""
        path = data_dir / FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(**content)
        except FileNotFoundError:
            return None
        except PermissionError:
            raise EmbeddedError(f"{path} belongs to another user: run this as the user who ran `make run`") from None
        except (OSError, ValueError, TypeError):
            raise EmbeddedError(f"{path} is damaged; restore it, or remove it to have a new one made") from None

    def write(self, data_dir: Path) -> None:
        write_private(data_dir / FILE, json.dumps(asdict(self), indent=2) + "\n")

    def with_socket(self, socket: Path) -> Self:
        return replace(self, socket=str(socket))

    def as_prepared(self) -> Self:
        return replace(self, prepared=True)
