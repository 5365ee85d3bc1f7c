"""The embedder as the supervisor knows it: it is started by whoever needs it, and ends with the installation."""

from contextlib import suppress

from bandstand.config import Config
from bandstand.supervisor import process_records
from bandstand.supervisor.process_records import ChildProcess
from memory.embeddings.embedder_process.folder import embedder_folder
from memory.embeddings.embedder_process.launcher import EmbedderLauncher
from memory.embeddings.embedder_process.wire import RECORD
from memory.embeddings.embedding_settings import EmbedderKind
from memory.embeddings.interface import EmbeddingUnavailable
from memory.embeddings.minilm.minilm_embedder import minilm_spec


def start(config: Config) -> None:
    """Have it started, if the settings say that there is one, so that the first search need not wait for it."""
    if config.embeddings.kind is EmbedderKind.MINILM:
        with suppress(EmbeddingUnavailable):  # the health check says why
            EmbedderLauncher(minilm_spec(config.data_dir)).ensure_started()


def recorded(config: Config) -> list[ChildProcess]:
    """The process that has recorded itself, if there is one."""
    return process_records.read(embedder_folder(config.data_dir), RECORD)
