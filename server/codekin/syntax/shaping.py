"""Reads the shape of a definition: what it uses, implements, calls and how it flows; names only."""

from codekin.records import Shape
from codekin.syntax.definitions import Definition, Interval
from codekin.syntax.languages import Language

_MOST_NAMES = 64
_LENDING = frozenset({"module", "protocol", "implementation", "class", "struct"})


def shape_of(language: Language, definition: Definition, inside: Interval) -> Shape:
    """The shape of what stands inside an interval of bytes; uses and behaviours are those of the container too."""
    calls = _distinct(call for at, call in definition.calls if inside[0] <= at < inside[1])
    control = [word for at, word in definition.control if inside[0] <= at < inside[1]]
    if _calls_itself(definition):
        control.append("recursion")
    owner = _owner(definition)
    uses = _distinct([*definition.uses, *(owner.uses if owner else [])])
    behaviours = _distinct([*definition.behaviours, *(owner.behaviours if owner else [])])
    if owner and owner.kind == "implementation":
        behaviours = _distinct([*behaviours, owner.name.partition(".")[0]])
    if definition.kind == "implementation":
        behaviours = _distinct([*behaviours, definition.name.partition(".")[0]])
    return Shape(uses, behaviours, _callbacks(language, definition), calls, _distinct(control))


def _owner(definition: Definition) -> Definition | None:
    return next((around for around in definition.ancestors() if around.kind in _LENDING), None)


def _callbacks(language: Language, definition: Definition) -> tuple[str, ...]:
    """The definition itself, or what it holds, as far as it implements a callback."""
    if definition.kind in language.containers:
        return _distinct(child.name for child in definition.children if _is_callback(language, child))
    return (definition.name,) if _is_callback(language, definition) else ()


def _is_callback(language: Language, definition: Definition) -> bool:
    if definition.is_callback:
        return True
    parent = definition.parent
    if parent is None or definition.kind in language.containers:
        return False
    if parent.kind == "implementation":
        return definition.kind == "function"
    known = [name for used in (*parent.uses, *parent.behaviours) for name in language.callbacks.get(used, ())]
    return definition.name in known


def _calls_itself(definition: Definition) -> bool:
    name = definition.name.rpartition("::")[2].partition("/")[0]
    return any(call == name for _, call in definition.calls)


def _distinct(names: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))[:_MOST_NAMES]  # type: ignore[call-overload]
