"""The model's files are known by their content; what a package says of them only shows where to look."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from memory.embeddings.minilm.weights import ModelFile, WeightsMissing, find_files, is_verified, read_verified

CONTENT = b"the weights"
DIGEST = hashlib.sha256(CONTENT)
FILE = ModelFile("weights.bin", DIGEST.hexdigest(), "weights")


def install(site: Path, package: str, path: str, content: bytes = CONTENT, recorded: bytes = CONTENT) -> Path:
    """A package in the folder `site`, with one file besides its own list of files."""
    info = site / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    digest = base64.urlsafe_b64encode(hashlib.sha256(recorded).digest()).rstrip(b"=").decode()
    name = f'"{path}"' if "," in path else path
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "RECORD").write_text(
        f"{package}/__init__.py,,\n{name},sha256={digest},{len(content)}\n{info.name}/RECORD,,\n"
    )
    (file := site / path).parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("path", ["weights/weights.bin", "weights/data/another name.bin", "weights/a,b.bin"])
def test_a_file_is_found_by_its_hash_in_whatever_package(tmp_path: Path, path: str) -> None:
    install(tmp_path, "other", "other/file.bin", b"x", b"x")
    file = install(tmp_path, "whoever", path)
    found = find_files([FILE], [str(tmp_path)])
    assert found == {FILE: file}
    assert read_verified(found[FILE], FILE.sha256) == CONTENT


def test_a_file_that_is_listed_and_gone_is_not_found(tmp_path: Path) -> None:
    install(tmp_path, "weights", "weights/weights.bin").unlink()
    assert find_files([FILE], [str(tmp_path)]) == {}


def test_content_that_is_not_what_the_package_says_is_refused(tmp_path: Path) -> None:
    install(tmp_path, "weights", "weights/weights.bin", b"something else")
    [path] = find_files([FILE], [str(tmp_path)]).values()
    assert not is_verified(path, FILE.sha256)
    with pytest.raises(WeightsMissing, match="SHA-256"):
        read_verified(path, FILE.sha256)


def test_a_file_that_cannot_be_read_is_no_file(tmp_path: Path) -> None:
    assert not is_verified(tmp_path / "none", FILE.sha256)
    with pytest.raises(WeightsMissing, match="cannot be read"):
        read_verified(tmp_path / "none", FILE.sha256)
