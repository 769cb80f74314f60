"""The source itself, read: no import circle, no file or function that outgrew its name, layers kept."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("flows", "pipeline", "schemas")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MOST_LINES = 450
MOST_BODY_LINES = 70
ORCHESTRATORS = {"prefect", "dask", "distributed"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_read() -> None:
    assert len(SOURCES) > 20


def test_no_import_circle() -> None:
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_size(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES, "the file wants to be two"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= MOST_BODY_LINES, f"{node.name} has a body of {lines} lines"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_no_assert_and_no_orchestrator_below_flows(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: `assert` vanishes under -O; raise instead"
        if isinstance(node, ast.Import | ast.ImportFrom) and path.relative_to(ROOT).parts[0] != "flows":
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not ORCHESTRATORS & {name.split(".")[0] for name in names}, f"line {node.lineno}: belongs in flows/"
