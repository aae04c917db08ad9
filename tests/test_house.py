"""The house's rules that a linter does not keep: sizes, and what stands in one room alone (CONTRIBUTING.md says why)."""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "lesionlab"
MODULES = sorted(SOURCE.rglob("*.py"))
TEXTS = {path.relative_to(SOURCE).as_posix(): path.read_text(encoding="utf-8") for path in MODULES}
MOST_LOOSE_MODULES, MOST_LINES, MOST_LINES_OF_CODE, MOST_UNTYPED = 10, 300, 40, 39
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def lines_of_code(text: str) -> set[int]:
    """The numbers of the lines that hold code: neither blank nor only a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    spans = [range(token.start[0], token.end[0] + 1) for token in tokens if token.type not in LAYOUT]
    return {line for span in spans for line in span}


def sizes_of_functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and lines of code of every function, signature and inner functions counted, docstring not."""
    code = lines_of_code(text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            own = code & set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            if ast.get_docstring(node) is not None:
                own -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
            yield node.name, len(own)


def imported(text: str) -> set[str]:
    """The top-level packages that a module imports, wherever in it."""
    names = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    plain = [alias.name for node in names if isinstance(node, ast.Import) for alias in node.names]
    return {
        name.partition(".")[0]
        for name in plain + [node.module or "" for node in names if isinstance(node, ast.ImportFrom)]
    }


def prints(text: str) -> bool:
    """Whether a module calls `print`."""
    calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return any(isinstance(function, ast.Name) and function.id == "print" for function in calls)


def test_few_modules_are_loose() -> None:
    """Beside the package's own `__init__.py`."""
    assert len([name for name in TEXTS if "/" not in name and name != "__init__.py"]) <= MOST_LOOSE_MODULES


def test_no_module_is_long() -> None:
    long = {name: count for name, text in TEXTS.items() if (count := text.count("\n")) > MOST_LINES}
    assert not long


def test_no_function_is_long() -> None:
    long = {
        f"{module}: {name}": count
        for module, text in TEXTS.items()
        for name, count in sizes_of_functions(text)
        if count > MOST_LINES_OF_CODE
    }
    assert not long


def test_arguments_are_parsed_in_the_commands_alone() -> None:
    assert not [name for name, text in TEXTS.items() if "argparse" in imported(text) and not name.startswith("cli/")]


def test_results_are_printed_by_the_commands_and_steps_by_stages_alone() -> None:
    allowed = ("cli/", "runs/stages.py")
    assert not [name for name, text in TEXTS.items() if prints(text) and not name.startswith(allowed)]


def test_few_values_are_untyped() -> None:
    assert sum(text.count("dict[str, Any]") for text in TEXTS.values()) <= MOST_UNTYPED


def test_the_rules_see_what_breaks_them() -> None:
    bad = 'import os, argparse.x\n\n\ndef f(\n    a,\n):\n    """Doc."""\n    # why\n\n    print("""two\nlines""")\n'
    assert list(sizes_of_functions(bad)) == [("f", 5)]
    assert imported(bad) == {"os", "argparse"} and prints(bad) and not prints("x.print(1)")
