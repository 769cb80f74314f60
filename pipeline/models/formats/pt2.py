"""Opening a torch.export archive (.pt2) without letting it run anything.

`torch.export.load` unpickles what the archive marks as pickled, unpickles sample inputs without restraint where the
restrained way fails, hands expressions of symbolic sizes to `sympy.sympify`, which evaluates them, and looks operators
up by name anywhere below `torch` (torch 2.13: torch/export/pt2_archive/_package.py, torch/_export/serde/serialize.py).
So the archive is read here first, and one that holds anything but plain tensors, ATen operators and simple sizes is
opened only for a person who says `trust: true`.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import ModelError, first_line

_MEMBERS = re.compile(
    r"[^/]+/("
    r"data/weights/(weight_\d+|model_weights_config\.json)|"
    r"data/constants/(tensor_\d+|model_constants_config\.json)|"
    r"data/sample_inputs/model\.pt|models/model\.json|"
    r"archive_format|archive_version|byteorder|version|\.data/version|\.data/serialization_id"
    r")"
)
"""Files of an archive that hold nothing but tensors, sizes and the graph."""

_OPERATORS = re.compile(r"(torch\.ops\.aten|_operator)\.\w+(\.\w+)?|torch\.sym_\w+")

_EXPRESSION_NAMES = frozenset(
    "Symbol Integer Add Mul Pow Mod FloorDiv CeilDiv CleanDiv PythonMod Max Min Rational "
    "positive integer nonnegative True False".split()
)


def load_export(path: Path, *, name: str, trust: bool) -> torch.export.ExportedProgram:
    """The program in a torch.export archive.

    Args:
        path: the .pt2 file.
        name: of the model, for messages.
        trust: open it whatever it holds.

    Raises:
        ModelError: it is no such archive, or holds what could run code and is not trusted.
    """
    if not zipfile.is_zipfile(path):
        raise ModelError(f"model {name!r}: its weights are no torch.export archive (.pt2)")
    try:
        if not trust and (found := next(_suspicious(path), None)):
            raise ModelError(
                f"model {name!r}: its .pt2 holds {found}, which could run code: set `trust: true` beside `model` in "
                "the cohort file if you trust who made it, or export it again with static sizes"
            )
        return torch.export.load(path)
    except (zipfile.BadZipFile, RuntimeError, ValueError, KeyError, AssertionError) as failure:
        if isinstance(failure, ModelError):
            raise
        raise ModelError(f"model {name!r}: its weights are no torch.export archive: {first_line(failure)}") from failure


def _suspicious(path: Path) -> Iterator[str]:
    """What in an archive could run code, in words."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            yield "two files of one name"
        for name in names:
            if not _MEMBERS.fullmatch(name):
                yield f"a file {name.partition('/')[2]!r}"
            elif name.endswith("model.pt"):
                yield from _unsafe_pickle(archive.read(name))
            elif name.endswith(".json"):
                yield from _unsafe_json(json.loads(archive.read(name)))


def _unsafe_pickle(content: bytes) -> Iterator[str]:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        yield "sample inputs that are not plain tensors"


def _unsafe_json(value: Any) -> Iterator[str]:
    for key, entry in _entries(value):
        if key == "use_pickle" and entry is not False:
            yield "a pickled object"
        elif key == "path_name" and not re.fullmatch(r"(weight|tensor)_\d+", str(entry)):
            yield "an object that is no tensor"
        elif key == "expr_str" and not _is_plain(str(entry)):
            yield f"the expression {str(entry)[:40]!r}"
        elif key == "target" and not _OPERATORS.fullmatch(str(entry)):
            yield f"the operator {str(entry)[:60]!r}"
        elif isinstance(entry, str) and "__enum__" in entry:
            yield "a name to import"


def _is_plain(expression: str) -> bool:
    """Whether an expression is made of sizes and arithmetic only."""
    without_text = re.sub(r"'\w+'", "", expression)
    known = set(re.findall(r"[A-Za-z_]\w*", without_text)) <= _EXPRESSION_NAMES
    return known and re.fullmatch(r"[\w\s(),=*+/-]*", without_text) is not None


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of nested objects with what it holds."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield key, entry
            yield from _entries(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _entries(entry)
