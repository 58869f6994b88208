"""The list of a step's finished files: what it was made from, what it holds, how to tell whether it is whole."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from segcore.errors import RunError, StepError
from segcore.store.canonical import JSON, digest_of, file_sha256
from segcore.store.layout import LOGS, MANIFEST
from segcore.store.steps import step_key

FORMAT = 1


@dataclass(frozen=True)
class FileEntry:
    """One file of a step. size: bytes. sha256: of its bytes, 64 hex digits."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Contents of manifest.json, the last file written into a step's folder.

    key: hash of kind, version and inputs. digest: hash of the value and of names and hashes of all files but logs.
    files: by POSIX path in the folder, manifest.json itself left out. environment: versions, no part of key or digest.
    """

    kind: str
    version: int
    key: str
    digest: str
    inputs: JSON
    value: JSON
    files: Mapping[str, FileEntry]
    environment: JSON
    format: int = FORMAT


def content_digest(files: Mapping[str, FileEntry], value: JSON) -> str:
    """Return the hash of a step's outcome: its value, and names and hashes of its files but logs."""
    content = {name: entry.sha256 for name, entry in files.items() if not is_log(name)}
    return digest_of({"files": content, "value": value})


def is_log(name: str) -> bool:
    """Return whether a file may differ between two equal outcomes: everything under logs/."""
    return name.startswith(LOGS + "/")


def list_files(folder: Path) -> dict[str, FileEntry]:
    """Return size and sha256 of every file under folder but its manifest, by POSIX name.

    StepError for links, sockets and the like: what they point to would not be covered by the hash.
    """
    found: dict[str, FileEntry] = {}
    for parent, folders, names in os.walk(folder):
        for name in sorted(folders + names):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                found[path.relative_to(folder).as_posix()] = FileEntry(path.stat().st_size, file_sha256(path))
            elif not stat.S_ISDIR(mode):
                raise StepError(f"{path} must be a plain file or folder to be published; copy what it refers to")
    found.pop(MANIFEST, None)
    return dict(sorted(found.items()))


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return the JSON of a manifest, indented for people."""
    fields = {name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}
    fields["files"] = {name: {"size": e.size, "sha256": e.sha256} for name, e in manifest.files.items()}
    return (json.dumps(fields, indent=1, sort_keys=True, allow_nan=False) + "\n").encode("ascii")


def read_manifest(folder: Path) -> Manifest:
    """Return a folder's manifest, checked against itself.

    StepError says what is damaged. RunError: written by a newer segloop, or the disk cannot be read.
    """
    path = folder / MANIFEST
    try:
        fields = json.loads(path.read_bytes())
        refuse_other_formats(path, fields["format"])
        files = {name: FileEntry(int(e["size"]), str(e["sha256"])) for name, e in fields.pop("files").items()}
        manifest = Manifest(files=files, **fields)
    except (FileNotFoundError, NotADirectoryError):
        raise StepError(f"{path} must exist in a published step, and does not") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}); check the disk and permissions") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StepError(f"{path} must be a manifest of format {FORMAT}, and is damaged: {error}") from None
    check_manifest(path, manifest)
    return manifest


def refuse_other_formats(path: Path, found: object) -> None:
    """Raise RunError for manifests this segloop cannot judge: they are somebody's results, not damage."""
    if isinstance(found, int) and found > FORMAT:
        raise RunError(
            f"{path} has format {found}, and this segloop reads up to {FORMAT}; "
            "install the segloop that wrote it, or start a new run under another run_id"
        )
    if found != FORMAT:
        raise ValueError(f"format {found!r}")


def check_manifest(path: Path, manifest: Manifest) -> None:
    """Raise StepError unless key and digest are those of the manifest's own fields."""
    if manifest.key != step_key(manifest.kind, manifest.version, manifest.inputs):
        raise StepError(
            f"{path}: the key must be the hash of kind, version and inputs, and is not; the file is damaged"
        )
    if manifest.digest != content_digest(manifest.files, manifest.value):
        raise StepError(f"{path}: the digest must be the hash of files and value, and is not; the file is damaged")


def check_files(folder: Path, manifest: Manifest, sha256_of: Callable[[Path, str], str]) -> None:
    """Raise StepError for the first file that is not what the manifest says. Logs may be missing.

    sha256_of: takes a path and the expected hash, returns the true one (a memo may answer). All sizes are compared
    before any file is read.
    """
    content = {name: entry for name, entry in manifest.files.items() if not is_log(name)}
    for name, entry in content.items():
        check_size(folder / name, entry)
    for name, entry in content.items():
        found = sha256_of(folder / name, entry.sha256)
        if found != entry.sha256:
            raise StepError(f"{folder / name} must have sha256 {entry.sha256[:12]}…, and has {found[:12]}…")


def check_size(path: Path, entry: FileEntry) -> None:
    """Raise StepError unless path is a plain file of the expected size."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise StepError(f"{path} must exist ({entry.size} bytes), and does not") from None
    if not stat.S_ISREG(status.st_mode):
        raise StepError(f"{path} must be a plain file, and is not")
    if status.st_size != entry.size:
        raise StepError(f"{path} must have {entry.size} bytes, and has {status.st_size}")
