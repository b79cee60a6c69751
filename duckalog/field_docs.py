"""What the models' source says of their fields: the docstring that follows each.

Read from the source when somebody asks, so that a build never pays for it.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from functools import cache
from typing import NamedTuple

_EXAMPLES = re.compile(r"\s*Examples?: (?=`)(.*)\Z", re.DOTALL)


class FieldDoc(NamedTuple):
    """What a field's docstring says, and the examples at its end, in YAML."""

    description: str = ""
    examples: tuple[str, ...] = ()


def class_doc(kind: type) -> str:
    """Return the docstring of a class, each paragraph on one line."""
    paragraphs = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def field_doc(kind: type, field: str) -> FieldDoc:
    """Return what the class that declares a field, or the nearest of its bases, says of it."""
    for one in kind.__mro__:
        text = _docstrings(one.__module__).get(f"{one.__qualname__}.{field}")
        if text is not None:
            examples = _EXAMPLES.search(text)
            return FieldDoc(
                " ".join(_EXAMPLES.sub("", text).split()),
                tuple(re.findall(r"`([^`]+)`", examples[1])) if examples else (),
            )
    return FieldDoc()


@cache
def _docstrings(module: str) -> dict[str, str]:
    """Return the docstrings of a module's fields by `Class.field`; none where it has no source."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):  # builtins, and programs frozen without their source
        return {}
    return {
        f"{node.name}.{field.target.id}": text.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for field, text in zip(node.body, node.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
