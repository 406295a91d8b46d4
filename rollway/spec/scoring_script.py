"""The scoring script, read without running it."""

import ast
import sys

NEEDED = ("init", "run")  # by Microsoft's inference server


def missing_functions(source: bytes) -> tuple[str, ...]:
    """Return the needed functions that a script does not have; empty if a star import may bring them.

    Whatever gives a module its name counts: a definition, an import, an assignment, also in a branch.

    Raises ValueError that says why and where it is not valid Python.
    """
    try:
        module = ast.parse(source)
    except SyntaxError as error:
        place = f" (line {error.lineno}, column {error.offset})" if error.lineno else ""
        raise ValueError(f"is not valid Python {_version()}: {error.msg}{place}") from error
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte, or too many brackets
        raise ValueError(f"cannot be parsed as Python {_version()}: {str(error) or type(error).__name__}") from error
    names = _names_of(module)
    return () if "*" in names else tuple(name for name in NEEDED if name not in names)


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _names_of(module: ast.Module) -> set[str]:
    names, nodes = set[str](), list[ast.AST](module.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            names.update(*(inner.names for inner in ast.walk(node) if isinstance(inner, ast.Global)))
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        else:
            nodes += ast.iter_child_nodes(node)
    return names
