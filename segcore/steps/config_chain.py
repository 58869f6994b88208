"""What an mmsegmentation config file says, by content: the file and every file that it includes, found by reading them.

Nothing is executed here. What lies in installed packages (`mmseg::…`, absolute imports) is known by its name, which the
text holds; package versions are no part of any key.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from segcore.errors import ConfigError
from segcore.store.canonical import digest_of, file_sha256

BASE = "_base_"
PACKAGE = "::"  # mmseg::unet/… lies in a package
ENVIRONMENT = re.compile(r"\{\{\s*['\"]?\s*\$(\w+)\s*:")  # {{$NAME:default}}, as mmengine has it
PLACEHOLDER = re.compile(r"\{\{[^{}\n]*\}\}")  # filled in by mmengine when it runs the file
PUT_ASIDE = "_placeholder_"


def config_sha256(path: Path) -> str:
    """Return one hash of a config and all that it includes; that of the file itself where it includes nothing.

    ConfigError when a file cannot be read, or computes the names of what it includes.
    """
    files = config_files(path)
    variables = {name: os.environ.get(name) for file in files for name in ENVIRONMENT.findall(read_text(file))}
    if len(files) == 1 and not variables:
        return file_sha256(path)
    return digest_of({"files": [file_sha256(file) for file in files], "environment": variables})


def config_files(path: Path) -> tuple[Path, ...]:
    """Return a config file and the files it includes, directly or not, each once, in the order they are named in."""
    found: dict[Path, None] = {}

    def follow(file: Path) -> None:
        if file not in found:
            found[file] = None
            for included in included_files(file):
                follow(included)

    follow(path.resolve())
    return tuple(found)


def included_files(path: Path) -> tuple[Path, ...]:
    """Return the files that one config file names as its bases, without those in packages."""
    if path.suffix != ".py":
        return beside(path, base_names(parse_document(path).get(BASE, []), path))
    module = parse_python(path)
    return (*beside(path, bases_of(module, path)), *relative_imports(module, path))


def beside(path: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Return the files that names in a config mean."""
    return tuple((path.parent / name).resolve() for name in names if PACKAGE not in name)


def bases_of(module: ast.Module, path: Path) -> tuple[str, ...]:
    """Return what the first `_base_ = …` of a Python config names; the one that mmengine goes by."""
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == BASE:
            return base_names(literal(node.value), path)
    return ()


def literal(node: ast.expr) -> Any:
    """Return the value of an expression, None where it would have to be computed."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None


def relative_imports(module: ast.Module, path: Path) -> Iterator[Path]:
    """Yield the files that `with read_base(): from .… import *` includes."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.level and node.module:
            yield path.parents[node.level - 1].joinpath(*node.module.split(".")).with_suffix(".py").resolve()


def base_names(value: Any, path: Path) -> tuple[str, ...]:
    """Return the names in a `_base_` that is a text or a list of texts."""
    names = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(name, str) and PUT_ASIDE not in name for name in names):
        raise ConfigError(
            f"{path}: {BASE} must be file names as plain text, so that what the model depends on is known without "
            "running the file; write them out, or give a config without bases (mmengine's Config.dump writes one)"
        )
    return tuple(names)


def parse_python(path: Path) -> ast.Module:
    """Return the syntax tree of a Python config, its {{placeholders}} put aside."""
    try:
        return ast.parse(PLACEHOLDER.sub(PUT_ASIDE, read_text(path)))
    except (SyntaxError, ValueError) as error:
        raise ConfigError(
            f"{path}: expected a Python file as mmsegmentation's configs are, cannot read it: {error}"
        ) from None


def parse_document(path: Path) -> dict[str, Any]:
    """Return a JSON or YAML config."""
    try:
        text = PLACEHOLDER.sub(PUT_ASIDE, read_text(path))
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected a config in {path.suffix[1:].upper()}, cannot read it: {error}") from None
    return document if isinstance(document, dict) else {}


def read_text(path: Path) -> str:
    """Return the text of a config file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this config, or one that includes it, cannot be read: {error}") from None
