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


class SupervisedEmbedder:
    """The embedder of one installation."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._launcher = EmbedderLauncher(minilm_spec(config.data_dir))

    def start(self) -> None:
        """Have it started, if the settings say that there is one, so that the first search need not wait for it."""
        if self._config.embeddings.kind is EmbedderKind.MINILM:
            with suppress(EmbeddingUnavailable):  # the health check says why
                self._launcher.ensure_started()

    def recorded(self) -> list[ChildProcess]:
        """The process that has recorded itself, if there is one."""
        return process_records.read(embedder_folder(self._config.data_dir), RECORD)

    def end(self) -> None:
        """End it. To be called when nobody is left who could start another one."""
        self._launcher.end()  # it may not have recorded itself yet
        process_records.end(self.recorded())
