"""Chat templates whose work is bounded: each is a program of whoever made the model, and may do anything for ever.

What a template does is counted as it does it: the rounds of its loops, its calls, and the signs and elements that these
read and write. One that does more than its messages are worth is stopped, after the same number of steps on every
machine. What would make much of little, such as `"a" * 10**10`, is reckoned before it is done.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from jinja2 import nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace
from jinja2.visitor import NodeTransformer

_LEAST, _FOR_SIGN, _FOR_MESSAGE, _MOST = 3_000_000, 100, 25_000, 200_000_000
"""How much work is allowed without any message, for each sign of them, for each message, and at most. A million take
about a fifth of a second."""
_STEP, _EACH, _SIGNS = 50, 10, 8
"""The work of a call or a round of a loop beside what it works on, that of an element, and how many signs make one."""

_AT_ONCE = frozenset({"length", "count", "first", "last", "default", "d"})
"""Filters that take no longer for a long list."""
_SHALLOW = frozenset(
    {"attr", "batch", "dictsort", "items", "list", "map", "reject", "rejectattr", "reverse", "select", "selectattr"}
)
"""Filters that look at each element, and not at what is in it."""
_READING = (
    *("eq", "equalto", "==", "ne", "!=", "gt", "greaterthan", ">", "ge", ">=", "lt", "lessthan", "<", "le", "<="),
    *("in", "lower", "upper"),
)
"""Tests that read what they are given."""
_WIDTH_GIVEN = re.compile(r"\*|\{[^{}]*\{")
"""In a pattern, a width that is one of the values."""
_COUNTS, _LOOKS, _ROUND = "_counts", "_looks", "_round"
"""The filters that stand in a template where it does not call one itself."""
_SIZED = (str, bytes, list, tuple, dict, set, frozenset, range)
_N = TypeVar("_N", bound=nodes.Node)

_left: ContextVar[list[int]] = ContextVar("_left")


class TooMuchWorkError(Exception):
    """A template does more than its messages are worth."""

    def __init__(self) -> None:
        super().__init__("it does more work than the messages are worth")


@contextlib.contextmanager
def bounded(messages: int = 0, signs: int = 0) -> Iterator[None]:
    """Templates that are read or rendered within it do at most what so many messages, of so many signs together, are
    worth; more raises TooMuchWorkError."""
    token = _left.set([min(_MOST, _LEAST + _FOR_SIGN * signs + _FOR_MESSAGE * messages)])
    try:
        yield
    finally:
        _left.reset(token)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """An environment for templates that are read and rendered within `bounded`."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, finalize=_counted)
        del self.globals["lipsum"]
        self.filters |= {_COUNTS: _counted, _LOOKS: _looked_at, _ROUND: _round}

    def count_filters(self) -> None:
        """Count the work of all filters, and of the tests that read; call it once all are there."""
        own = {name: self.filters[name] for name in (_COUNTS, _LOOKS, _ROUND)}
        self.filters.update({name: _counting(name, each) for name, each in self.filters.items()} | own)
        tests: dict[str, Any] = self.tests
        tests.update({name: _counting(name, tests[name]) for name in _READING})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template: nodes.Template = _Counting(self).visit(super()._parse(source, name, filename))
        return template

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - as the base
        """See jinja2."""
        method = getattr(__obj, "__wrapped__", __obj)
        text = getattr(method, "__self__", None)
        name = method.__name__ if isinstance(text, (*_SIZED, int)) else ""
        args = _before(name, (text, *args), kwargs)[1:]
        if method is dict:
            _count_all([args, kwargs])
        return _after(super().call(__context, __obj, *args, **kwargs))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """See jinja2."""
        _count(_STEP)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """See jinja2."""
        _count(_STEP)
        return super().getitem(obj, argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """See jinja2."""
        sizes = _size(left), _size(right)
        if isinstance(left, int) and isinstance(right, int):
            bits, others = left.bit_length(), right.bit_length()
            _count((bits * right) ** 2 >> 10 if operator == "**" else bits * others >> 10)
        elif operator == "*":
            _count(sizes[0] * _whole(right) + sizes[1] * _whole(left))
        elif operator == "%" and isinstance(left, str | bytes):
            _before("format", (left, *(right if isinstance(right, tuple) else (right,))), {})
        _count(_STEP + sum(sizes))
        return super().call_binop(context, operator, left, right)


class _Counting(NodeTransformer):
    """Puts filters that count where a template loops, compares, or makes a list or a text."""

    def __init__(self, environment: BoundedEnvironment) -> None:
        self._environment = environment

    def _filter(self, node: nodes.Node, name: str) -> nodes.Expr:
        if isinstance(node, nodes.Const):
            return node
        return self._at(nodes.Filter(cast(nodes.Expr, node), name, [], [], None, None), node)

    def _at(self, made: _N, node: nodes.Node) -> _N:
        made.set_environment(self._environment)
        made.set_lineno(node.lineno)
        return made

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - jinja2's own name
        self.generic_visit(node)
        node.iter = self._filter(node.iter, _LOOKS)
        node.body.insert(0, self._round(node))
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.body.insert(0, self._round(node))
        return node

    def _round(self, node: nodes.Node) -> nodes.ExprStmt:
        return self._at(nodes.ExprStmt(nodes.Filter(nodes.Const(0), _ROUND, [], [], None, None)), node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [self._filter(each, _COUNTS) for each in node.nodes]
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = self._filter(node.expr, _COUNTS)
        for operand in node.ops:
            operand.expr = self._filter(operand.expr, _COUNTS)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = self._filter(node.node, _LOOKS)
        return node

    def _visit_literal(self, node: nodes.List | nodes.Tuple | nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node, nodes.Tuple) and node.ctx != "load":
            return node
        is_plain = all(isinstance(each, nodes.Const | nodes.Pair) for each in node.iter_child_nodes())
        return node if is_plain and not isinstance(node, nodes.Dict) else self._filter(node, _COUNTS)

    visit_List = visit_Tuple = visit_Dict = _visit_literal  # noqa: N815 - jinja2's own names


# -- counting ----------------------------------------------------------------------------------------------------------


def _count(work: int) -> None:
    left = _left.get()
    left[0] -= work
    if left[0] < 0:
        raise TooMuchWorkError


def _size(value: Any) -> int:
    return -(-_length(value) // (_SIGNS if isinstance(value, str | bytes) else 1))


def _length(value: Any) -> int:
    return len(value) if isinstance(value, _SIZED) else 0


def _work(value: Any) -> int:
    """That of looking at each sign or element of a value."""
    return _EACH + _size(value) * (1 if isinstance(value, str | bytes) else _EACH)


def _whole(value: Any) -> int:
    return abs(value) if isinstance(value, int) else 0


def _count_all(value: Any) -> int:
    """Count a value with all that is in it, as often as it is in it, as who prints or compares it does; returns how
    many values that is."""
    waiting, number = [value], 0
    while waiting:
        each = waiting.pop()
        number += 1
        _count(_work(each))
        if isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple | set | frozenset):
            waiting += each
        elif isinstance(each, Namespace | Cycler | Joiner):
            waiting.append(object.__getattribute__(each, "__dict__"))
    return number


def _counted(value: Any) -> Any:
    _count_all(value)
    return value


def _looked_at(value: Any) -> Any:
    _count(_size(value))
    return value


def _round(_: int) -> None:
    _count(_STEP)


def _counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter or a test whose work is counted."""
    own = int(hasattr(function, "jinja_pass_arg"))  # the first argument is jinja2's

    @functools.wraps(function)
    def counting(*args: Any, **kwargs: Any) -> Any:
        if name in _AT_ONCE:
            _count(_STEP)
            return function(*args, **kwargs)
        return _after(function(*args[:own], *_before(name, args[own:], kwargs), **kwargs))

    return counting


def _before(name: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, ...]:
    """Count what a call works on, and what it may make of that; returns its arguments, and iterators as lists."""
    _count(_STEP)
    if name in _PLACES:
        args = tuple(list(each) if isinstance(each, Iterator) else each for each in args)
        number = _count_all([*args, *named.values()])
        _count(_PLACES[name](args[0], args[1:], number) * _most(name, args[0], [*args[1:], *named.values()]))
    elif name in _SHALLOW or not name:
        _count(sum(map(_work, args)))
    else:
        args = tuple(list(each) if isinstance(each, Iterator) else each for each in args)
        _count_all([*args, *named.values()])
    return args


def _after(made: Any) -> Any:
    _count(_size(made))
    return made


# -- what makes much of little -----------------------------------------------------------------------------------------


def _most(name: str, text: Any, values: list[Any]) -> int:
    """How much a call may put into one place of a text."""
    if name in ("format", "format_map"):
        widths = [int(width) if len(width) < 10 else 10**9 for width in re.findall(r"\d+", str(text))]
        given = max(map(_whole, values), default=0) if _WIDTH_GIVEN.search(str(text)) else 0
        return max([given, *widths, *map(_size, values)])
    if name == "join":
        return max(_size(each) for each in (text, *values, "") if isinstance(each, str))
    tables = [each for value in values if isinstance(value, dict) for each in value.values()]
    return max([1, *map(_size, [*values, *tables]), *map(_whole, values)])


_Place = Callable[[Any, tuple[Any, ...], int], int]
_PLACES: Mapping[str, _Place] = {
    "replace": lambda text, values, _: str(text).count(str(values[0])) if values else 0,
    "format": lambda text, *_: str(text).count("%") + str(text).count("{"),
    "format_map": lambda text, *_: str(text).count("{"),
    "join": lambda text, values, _: max(map(_length, (text, *values))),
    "indent": lambda text, *_: 1 + str(text).count("\n"),
    "expandtabs": lambda text, *_: str(text).count("\t"),
    "tojson": lambda _, __, number: number,
    **dict.fromkeys(("translate", "wordwrap"), lambda text, *_: _length(text)),
    **dict.fromkeys(("center", "ljust", "rjust", "zfill", "to_bytes", "batch", "slice", "round"), lambda *_: 1),
}
"""Of each call that may make much of little: in how many places of a text it does, by the text, the other values and
how many values there are."""
