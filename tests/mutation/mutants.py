"""Small mistakes, one at a time, in a module's source: what a suite of tests has to notice."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATIONS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


#: What is below such a condition no test can come past on this system.
_NOT_RUN_HERE = {"TYPE_CHECKING", "sys.platform == 'win32'"}


@dataclass(frozen=True)
class Mutant:
    """`number` is its place among the mutants of its module; `lines` are those of its statement, without statements inside it."""

    number: int
    line: int
    what: str
    lines: range
    _source: str
    _place: int
    _change: int

    @property
    def text(self) -> str:
        """The line as it is in the source."""
        return self._source.splitlines()[self.line - 1].strip()

    @property
    def tree(self) -> ast.Module:
        """What is compiled in the place of the source."""
        tree = ast.parse(self._source)
        node = next(each for place, each in enumerate(ast.walk(tree)) if place == self._place)
        _, change = list(_changes(node))[self._change]

        class Put(ast.NodeTransformer):
            def visit(self, each):
                return ast.copy_location(change(node), node) if each is node else self.generic_visit(each)

        return ast.fix_missing_locations(Put().visit(tree))


def mutants_of(source: str) -> list[Mutant]:
    """All of them, in the order of the source. Types, docstrings, messages of errors and assertions are left alone."""
    tree = ast.parse(source)
    places = {node: place for place, node in enumerate(ast.walk(tree))}
    statement = _statements(tree)
    found = [
        (node.lineno, what, places[node], change)
        for node in _looked_at(tree)
        for change, (what, _) in enumerate(_changes(node))
    ]
    found.sort(key=lambda each: each[0])
    return [
        Mutant(number, line, what, statement[line], source, place, change)
        for number, (line, what, place, change) in enumerate(found)
    ]


def _statements(tree: ast.Module) -> dict[int, range]:
    """Of each line, the lines of the innermost statement that it belongs to."""
    owner = {}
    for node in ast.walk(tree):  # the outer ones first
        if isinstance(node, ast.stmt):
            inner = [each.lineno for each in ast.walk(node) if isinstance(each, ast.stmt) and each is not node]
            lines = range(node.lineno, max(min([*inner, node.end_lineno + 1]), node.lineno + 1))
            owner.update(dict.fromkeys(range(node.lineno, node.end_lineno + 1), lines))
    return owner


def _looked_at(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Assert | ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr | ast.arguments):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) in _NOT_RUN_HERE:
            yield from _looked_at(ast.Module(child.orelse, []))
            continue
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue  # a docstring, or what a protocol has in the place of code
        if isinstance(child, ast.AnnAssign):
            if child.value is not None and "Final" not in ast.unparse(child.annotation):
                yield from _looked_at(ast.Expr(child.value))
            continue
        yield child
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for each in child.body:
                holder = ast.Module([each], [])
                yield from _looked_at(holder)
        else:
            yield from _looked_at(child)


def _changes(node: ast.AST):
    match node:
        case ast.Compare(ops=[one]) if type(one) in _COMPARISONS:
            other = _COMPARISONS[type(one)]
            yield f"{ast.unparse(node)}: {type(one).__name__} is {other.__name__}", lambda n: _with(n, ops=[other()])
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in _OPERATIONS:
            other = _OPERATIONS[type(op)]
            yield f"{ast.unparse(node)}: {type(op).__name__} is {other.__name__}", lambda n: _with(n, op=other())
        case ast.BoolOp(op=op):
            swapped = ast.Or if isinstance(op, ast.And) else ast.And
            yield f"{ast.unparse(node)}: {swapped.__name__}", lambda n: _with(n, op=swapped())
        case ast.UnaryOp(op=ast.Not()):
            yield f"{ast.unparse(node)}: not is left out", lambda n: n.operand
        case ast.Constant(value=bool() as value):
            yield f"{value} is {not value}", lambda n: ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield f"{value} is {value + 1}", lambda n: ast.Constant(value + 1)
        case ast.If(test=test) | ast.While(test=test) if not isinstance(
            test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant
        ):
            yield f"{ast.unparse(test)}: the opposite", lambda n: _with(n, test=ast.UnaryOp(ast.Not(), n.test))
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield f"return {ast.unparse(value)}: nothing", lambda n: ast.Return(ast.Constant(None))
        case ast.Break():
            yield "break: continue", lambda n: ast.Continue()
        case ast.Continue():
            yield "continue: break", lambda n: ast.Break()
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield f"{ast.unparse(node)}: left out", lambda n: ast.Pass()
        case _:
            return


def _with(node: ast.AST, **fields: object) -> ast.AST:
    for name, value in fields.items():
        setattr(node, name, value)
    return node
