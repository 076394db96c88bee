"""PromQL, parsed far enough to take a query apart: selectors, functions, aggregations, operators, with their positions.

It accepts what Prometheus 2 and 3 accept for ordinary queries; what it cannot read is a `UsageError` with the position.
The queries themselves are always executed by Prometheus, never here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from meshnb.errors import UsageError

AGGREGATIONS = frozenset({
    "sum", "avg", "min", "max", "count", "stddev", "stdvar", "group", "topk", "bottomk", "quantile", "count_values",
    "limitk", "limit_ratio",
})  # fmt: skip

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*
      | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
      | (?P<duration>(?:\d+(?:ms|[smhdwy]))+(?![\w.]))
      | (?P<number>0x[0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?:Inf|NaN)\b)
      | (?P<name>[a-zA-Z_$][\w:.$]*)
      | (?P<op>=~|!~|!=|==|>=|<=|[-+*/%^<>=@(){}\[\],:])""",
    re.VERBOSE,
)
_PRECEDENCE = {"or": 1, "and": 2, "unless": 2, "==": 3, "!=": 3, "<=": 3, "<": 3, ">=": 3, ">": 3}
_PRECEDENCE |= {"+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6}


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label: `label`, `op` (`=`, `!=`, `=~`, `!~`), `value`, and the text as written."""

    label: str
    op: str
    value: str
    text: str


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a query.

    Args:
        kind: `selector`, `call`, `aggregation`, `binary`, `unary`, `paren`, `subquery`, `number` or `string`.
        text: the part as written.
        start: its offset in the query.
        name: metric, function, aggregation or operator.
        args: the parts it is made of.
        matchers: of a selector.
        range: of a selector or subquery, as written without brackets.
        labels: of an aggregation's `by` or `without`, or an operator's `on` or `ignoring`.
        without: whether `labels` are those taken away.
    """

    kind: str
    text: str
    start: int
    name: str = ""
    args: tuple[Node, ...] = ()
    matchers: tuple[Matcher, ...] = ()
    range: str = ""
    labels: tuple[str, ...] = ()
    without: bool = False

    def walk(self) -> Iterator[Node]:
        """This part and all below it, outermost first."""
        yield self
        for arg in self.args:
            yield from arg.walk()

    @property
    def selectors(self) -> list[Node]:
        """All selectors, in the order written."""
        return sorted((n for n in self.walk() if n.kind == "selector"), key=lambda n: n.start)


def parse(expr: str) -> Node:
    """Take a query apart.

    Raises:
        UsageError: not PromQL; names the position.

    Example:
        >>> node = parse('sum by (le) (rate(x_bucket{a="b"}[5m]))')
        >>> node.name, node.labels, node.selectors[0].name, node.selectors[0].range
        ('sum', ('le',), 'x_bucket', '5m')
    """
    parser = _Parser(expr)
    node = parser.expression(0)
    if parser.kind != "end":
        parser.fail("nothing more")
    return node


@dataclass
class _Parser:
    expr: str
    tokens: list[tuple[str, str, int, int]] = field(default_factory=list)
    at: int = 0

    def __post_init__(self) -> None:
        offset = 0
        while offset < len(self.expr):
            found = _TOKEN.match(self.expr, offset)
            if not found:
                raise UsageError(f"not PromQL at position {offset + 1}: {self.expr[offset : offset + 20]!r}")
            if found.lastgroup:
                self.tokens.append((found.lastgroup, found[0], offset, found.end()))
            offset = found.end()
        self.tokens.append(("end", "", offset, offset))

    @property
    def kind(self) -> str:
        return self.tokens[self.at][0]

    @property
    def word(self) -> str:
        return self.tokens[self.at][1]

    @property
    def start(self) -> int:
        return self.tokens[self.at][2]

    def next(self) -> str:
        word = self.word
        self.at += 1
        return word

    def take(self, *words: str) -> bool:
        if self.word in words and self.kind in ("op", "name"):
            self.at += 1
            return True
        return False

    def expect(self, word: str) -> None:
        if not self.take(word):
            self.fail(repr(word))

    def fail(self, wanted: str) -> NoReturn:
        got = repr(self.word) if self.word else "the end"
        raise UsageError(f"not PromQL at position {self.start + 1}: {wanted} expected, not {got}", hint=self.expr)

    def since(self, start: int) -> str:
        return self.expr[start : self.tokens[self.at - 1][3]]

    def expression(self, lowest: int) -> Node:
        start = self.start
        left = self.unary()
        while (level := _PRECEDENCE.get(self.word.lower() if self.kind == "name" else self.word, 0)) > lowest:
            if self.kind not in ("op", "name"):
                break
            name = self.next().lower()
            labels, without = self.matching()
            right = self.expression(level - 1 if name == "^" else level)
            left = Node("binary", self.since(start), start, name, (left, right), labels=labels, without=without)
        return left

    def matching(self) -> tuple[tuple[str, ...], bool]:
        self.take("bool")
        labels: tuple[str, ...] = ()
        without = False
        if self.word in ("on", "ignoring"):
            without = self.next() == "ignoring"
            labels = self.names()
        if self.take("group_left", "group_right") and self.word == "(":
            self.names()
        return labels, without

    def names(self) -> tuple[str, ...]:
        self.expect("(")
        found = []
        while not self.take(")"):
            found.append(self.next().strip("\"'"))
            if self.word != ")":
                self.expect(",")
        return tuple(found)

    def unary(self) -> Node:
        start = self.start
        if self.kind == "op" and self.word in "+-" and self.word:
            name, inner = self.next(), self.expression(5)
            return Node("unary", self.since(start), start, name, (inner,))
        node = self.primary()
        while self.word in ("[", "offset", "@") and self.kind in ("op", "name"):
            node = self.suffix(node, start)
        return node

    def suffix(self, node: Node, start: int) -> Node:
        if self.take("["):
            span = self.next()
            if self.take(":"):
                if self.word != "]":
                    self.next()
                self.expect("]")
                return Node("subquery", self.since(start), start, args=(node,), range=span)
            self.expect("]")
        elif self.take("@"):
            span = node.range
            if self.kind == "name":
                self.next()
                self.names()
            else:
                self.next()
        else:
            span = node.range
            self.next()
            self.take("-")
            self.next()
        if node.kind not in ("selector", "subquery"):
            if node.kind == "paren" or node.kind in ("call", "aggregation"):
                return Node(node.kind, self.since(start), start, node.name, node.args, labels=node.labels)
            self.fail("a selector before this")
        return Node(node.kind, self.since(start), start, node.name, node.args, node.matchers, span)

    def primary(self) -> Node:
        start, kind, word = self.start, self.kind, self.word
        if kind in ("number", "duration"):
            return Node("number", self.next(), start)
        if kind == "string":
            return Node("string", self.next(), start)
        if self.take("("):
            inner = self.expression(0)
            self.expect(")")
            return Node("paren", self.since(start), start, args=(inner,))
        if word == "{":
            return self.selector("", start)
        if kind != "name":
            self.fail("an expression")
        name = self.next()
        if name.lower() in AGGREGATIONS and self.word in ("(", "by", "without"):
            return self.aggregation(name.lower(), start)
        if self.word == "(":
            args = self.arguments()
            return Node("call", self.since(start), start, name, args)
        return self.selector(name, start)

    def aggregation(self, name: str, start: int) -> Node:
        labels: tuple[str, ...] | None = None
        without = False
        if self.word in ("by", "without"):
            without = self.next() == "without"
            labels = self.names()
        args = self.arguments()
        if labels is None and self.word in ("by", "without"):
            without = self.next() == "without"
            labels = self.names()
        return Node("aggregation", self.since(start), start, name, args, labels=labels or (), without=without)

    def arguments(self) -> tuple[Node, ...]:
        self.expect("(")
        found: list[Node] = []
        while not self.take(")"):
            found.append(self.expression(0))
            if self.word != ")":
                self.expect(",")
        return tuple(found)

    def selector(self, name: str, start: int) -> Node:
        matchers: list[Matcher] = []
        if self.take("{"):
            while not self.take("}"):
                begin, label = self.start, self.next()
                if self.kind == "op" and self.word in ("=", "!=", "=~", "!~"):
                    op, value = self.next(), self.next()
                    matchers.append(Matcher(label.strip("\"'"), op, _unquote(value), self.since(begin)))
                elif label[:1] in "\"'":
                    name = _unquote(label)  # Prometheus 3: {"name.with.dots"}
                else:
                    self.fail("=, !=, =~ or !~")
                if self.word != "}":
                    self.expect(",")
        name = name or next((m.value for m in matchers if m.label == "__name__" and m.op == "="), "")
        return Node("selector", self.since(start), start, name, matchers=tuple(matchers))


def _unquote(text: str) -> str:
    if text[:1] == "`":
        return text[1:-1]
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), text[1:-1])


def quote(value: str) -> str:
    r"""A label value as PromQL text.

    Example:
        >>> print(quote('a "b" \\d'))
        "a \"b\" \\d"
    """
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
