"""Measures a document before it is validated, since validating an excessive one would itself take long.

One walk, from the inside out, measures each fragment once however often it is spread. So it takes time in proportion
to the document's text, however large the document becomes when its fragments are expanded.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLList,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    is_composite_type,
)

from breadth.coercion import STRAWBERRY
from breadth.core import output_type
from breadth.cost import MOST, Amount, Cost, Costs, size_of
from breadth.fields import MARK, PageSize
from breadth.limits import Limits

LIST = 20
"""The assumed number of items in a list of unknown size."""


class Measure(NamedTuple):
    """The counts of a part of a document with its fragments expanded."""

    depth: int = 0
    aliases: int = 0
    directives: int = 0
    fields: int = 0
    once: Amount = Amount()
    """The cost of the fields that an answer has once for each object."""
    listed: Amount = Amount()
    """The cost of those that it has once for each item of lists whose size the parent field gives."""


NOTHING = Measure()
ONE = Amount(1)


class Shape(NamedTuple):
    """The inputs of a field's cost: the type of its objects, the nesting of its lists, and their page size."""

    kind: Any
    lists: int
    page_size: PageSize | None


UNKNOWN = Shape(None, 0, None)
"""A field that the schema does not have counts as a plain one: validation reports it."""


class Measurer:
    """Measures documents of one schema."""

    def __init__(self, schema: GraphQLSchema, limits: Limits) -> None:
        self._schema = schema
        self._limits = limits
        self._shapes: dict[tuple[str, str], Shape] = {}

    def costs(self, document: DocumentNode) -> dict[str | None, Cost]:
        """The costs of a document's operations, by name; raises `TooComplex` when it exceeds another limit."""
        walk = _Walk(self, document)
        for name in ("depth", "aliases", "directives", "fields"):
            found = max((getattr(measure, name) for measure in walk.measures), default=0)
            if found > getattr(self._limits, name):
                raise self._limits.exceeded(name, found)
        return walk.costs

    def type_named(self, name: str) -> Any:
        kind = self._schema.type_map.get(name)
        return kind if is_composite_type(kind) else None

    def root_type(self, operation: OperationDefinitionNode) -> Any:
        return self._schema.get_root_type(operation.operation)

    def shape(self, kind: Any, name: str) -> Shape:
        if kind is None:
            return UNKNOWN
        key = kind.name, name
        shape = self._shapes.get(key)
        if shape is None:
            field = self._schema.get_field(kind, name)
            if field is None:
                return UNKNOWN
            output = output_type(field)
            shape = self._shapes[key] = Shape(get_named_type(output), _lists(output), _page_size(field))
        return shape


def _lists(kind: Any) -> int:
    count = 0
    while hasattr(kind, "of_type"):
        count += isinstance(kind, GraphQLList)
        kind = kind.of_type
    return count


def _page_size(definition: Any) -> PageSize | None:
    resolver = getattr(definition.extensions.get(STRAWBERRY), "base_resolver", None)
    return getattr(getattr(resolver and resolver.wrapped_func, MARK, None), "page_size", None)


Outline = list[tuple[SelectionSetNode, Any]]
"""The selection sets of a definition, each before those within it, with the types that they select from."""


class _Walk:
    """The walk over one document."""

    def __init__(self, measurer: Measurer, document: DocumentNode) -> None:
        self._measurer = measurer
        self._sums = Costs()
        self._fragments: dict[str, Measure] = {}
        self._selected: dict[int, Measure] = {}
        self.measures: list[Measure] = []
        self.costs: dict[str | None, Cost] = {}
        fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        outlines = {name: self._outline(node) for name, node in fragments.items()}
        for name in _bottom_up({name: _spreads(outline) for name, outline in outlines.items()}):
            self._fragments[name] = self._measure(outlines[name], fragments[name].directives)
        for node in document.definitions:
            if isinstance(node, OperationDefinitionNode):
                directives = [*(node.directives or ())]
                for variable in node.variable_definitions or ():
                    directives += variable.directives or ()
                measure = self._measure(self._outline(node), directives)
                cost = self._sums.sum([measure.once, self._sums.times(measure.listed, LIST)])
                self.costs[node.name.value if node.name else None] = self._sums.cost(cost)

    def _outline(self, node: FragmentDefinitionNode | OperationDefinitionNode) -> Outline:
        if isinstance(node, FragmentDefinitionNode):
            kind = self._measurer.type_named(node.type_condition.name.value)
        else:
            kind = self._measurer.root_type(node)
        outline = [(node.selection_set, kind)]
        for selection_set, kind in outline:  # it grows meanwhile; so nesting needs no recursion
            outline += self._within(selection_set, kind)
        return outline

    def _within(self, selection_set: SelectionSetNode, kind: Any) -> Iterator[tuple[SelectionSetNode, Any]]:
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                if node.selection_set is not None:
                    yield node.selection_set, self._measurer.shape(kind, node.name.value).kind
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                yield node.selection_set, self._measurer.type_named(condition.name.value) if condition else kind

    def _measure(self, outline: Outline, directives: Sequence[DirectiveNode] | None) -> Measure:
        """Measures a definition; the fragments that it spreads were measured before."""
        for selection_set, kind in reversed(outline):
            self._selected[id(selection_set)] = self._selection(selection_set, kind)
        measure = self._selected[id(outline[0][0])]
        measure = measure._replace(directives=min(measure.directives + len(directives or ()), MOST))
        self.measures.append(measure)
        return measure

    def _selection(self, selection_set: SelectionSetNode, kind: Any) -> Measure:
        depth = aliases = directives = fields = 0
        once: list[Amount] = []
        listed: list[Amount] = []
        spread: set[str] = set()
        for node in selection_set.selections:
            directives += len(node.directives or ())
            if isinstance(node, FieldNode):
                below = self._selected[id(node.selection_set)] if node.selection_set else NOTHING
                self._field(node, self._measurer.shape(kind, node.name.value), below, once, listed)
                depth = max(depth, below.depth + 1)
                aliases += node.alias is not None
                fields += 1
            elif isinstance(node, InlineFragmentNode):
                below = self._selected[id(node.selection_set)]
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in spread:
                spread.add(node.name.value)
                below = self._fragments.get(node.name.value, NOTHING)
            else:
                continue  # A fragment that a selection set spreads again selects nothing more.
            if not isinstance(node, FieldNode):
                once.append(below.once)
                listed.append(below.listed)
            depth = max(depth, below.depth)
            aliases += below.aliases
            directives += below.directives
            fields += below.fields
        aliases, directives, fields = min(aliases, MOST), min(directives, MOST), min(fields, MOST)
        return Measure(depth, aliases, directives, fields, self._sums.sum(once), self._sums.sum(listed))

    def _field(self, node: FieldNode, shape: Shape, below: Measure, once: list[Amount], listed: list[Amount]) -> None:
        """Adds a field's cost to the cost per object of its type, or per item of their lists."""
        if below is NOTHING and not shape.lists and shape.page_size is None:
            once.append(ONE)
            return
        sums = self._sums
        size = LIST
        if shape.page_size is not None:
            size = size_of(shape.page_size, node)
            once.append(Amount(shape.page_size.lookup))
        if not shape.lists:
            once.append(sums.sum([ONE, below.once, sums.times(below.listed, size)]))
            return
        item = sums.sum([ONE, below.once, sums.times(below.listed, LIST)])
        item = sums.times(item, LIST ** (shape.lists - 1))
        if shape.page_size is None:
            listed.append(item)
        else:
            once.append(sums.times(item, size))


def _spreads(outline: Outline) -> set[str]:
    """The names of the fragments that selection sets spread."""
    nodes = (node for selection_set, _ in outline for node in selection_set.selections)
    return {node.name.value for node in nodes if isinstance(node, FragmentSpreadNode)}


def _bottom_up(fragments: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """The names of fragments, each after those that it spreads. Those on or above a cycle are left out."""
    sorter = TopologicalSorter({name: [s for s in spreads if s in fragments] for name, spreads in fragments.items()})
    with suppress(CycleError):  # validation reports these
        sorter.prepare()
    while ready := sorter.get_ready():
        yield from ready
        sorter.done(*ready)
