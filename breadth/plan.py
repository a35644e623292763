"""Plans: the selections of an operation, level by level, compiled from its document.

A selection is compiled when the first object of its type occurs, so that compiling is proportional to the answer, and
fields under a type that no object has cost nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from types import CodeType
from typing import Any, NamedTuple

import orjson
from graphql import (
    BooleanValueNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLAbstractType,
    GraphQLEnumType,
    GraphQLField,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    SelectionSetNode,
    TypeInfo,
    TypeInfoVisitor,
    VariableNode,
    is_abstract_type,
    is_leaf_type,
    visit,
)
from graphql.language.visitor import SKIP, Visitor

from breadth.arguments import Arguments
from breadth.coercion import STRAWBERRY, graphql_name
from breadth.core import OutputType, output_type
from breadth.fields import MARK, Batch, Computed, Run, Stream
from breadth.writer import Writer

Flags = Mapping[str, bool]
"""The values of the variables that @skip and @include use."""

Known = defaultdict[str, set[type]]
"""For each object type, by name, the Python classes known to be of it; shared by all plans."""


class Coverage(NamedTuple):
    """The kinds of fields that a document selects."""

    whole: bool
    """True when breadth-first execution supports every field."""
    data: bool
    """True when it selects anything besides introspection."""


def coverage_of(schema: GraphQLSchema, document: DocumentNode) -> Coverage:
    """Classifies the fields of a valid document."""
    info = TypeInfo(schema)
    unknown: list[FieldNode] = []
    data: list[FieldNode] = []

    class Finder(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> Any:
            name = node.name.value
            if name == "__typename":
                return None
            if name.startswith("__"):
                unknown.append(node)
                return SKIP
            data.append(node)
            definition = info.get_field_def()
            field = definition and definition.extensions.get(STRAWBERRY)
            if field is None or field.extensions or not (field.is_basic_field or _mark(field)):
                unknown.append(node)
            return None

        def enter_fragment_definition(self, node: FragmentDefinitionNode, *_: Any) -> Any:
            return SKIP if node.type_condition.name.value.startswith("__") else None

    visit(document, TypeInfoVisitor(info, Finder()))
    return Coverage(not unknown, bool(data))


def flag_names(document: DocumentNode) -> frozenset[str]:
    """The names of the variables that a document's @skip and @include use."""
    names: set[str] = set()

    class Finder(Visitor):
        def enter_directive(self, node: Any, *_: Any) -> None:
            if node.name.value in ("skip", "include"):
                names.update(a.value.name.value for a in node.arguments if isinstance(a.value, VariableNode))

    visit(document, Finder())
    return frozenset(names)


def batch_of(field: GraphQLField) -> Batch | None:
    """The resolver of a batch field, whose values are fetched; None for a field whose values are in its parents."""
    mark = _mark(field.extensions[STRAWBERRY])
    return mark if isinstance(mark, Batch) else None


def _mark(field: Any) -> Computed | Batch | Stream | None:
    return getattr(field.base_resolver.wrapped_func, MARK, None) if field.base_resolver else None


class Position:
    """The position of values in an answer: nullable or not; a leaf, a list, or objects with their selections."""

    __slots__ = ("abstract", "item", "leaf", "nonnull", "objects", "type")

    def __init__(self, kind: OutputType, compiler: "Compiler", selection_sets: Sequence[SelectionSetNode]) -> None:
        self.nonnull = isinstance(kind, GraphQLNonNull)
        inner: OutputType = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
        self.type: Any = inner
        self.item = Position(inner.of_type, compiler, selection_sets) if isinstance(inner, GraphQLList) else None
        self.leaf: GraphQLLeafType | None = inner if is_leaf_type(inner) else None
        self.abstract: GraphQLAbstractType | None = inner if is_abstract_type(inner) else None
        self.objects = Objects(compiler, selection_sets, inner)

    @property
    def selection(self) -> "Selection":
        """The selection for objects of a concrete type at this position."""
        return self.objects.of(self.type)

    @property
    def known_type(self) -> bool:
        """True if the values at this position, or in its lists, are of one type, whatever they are."""
        return self.abstract is None if self.item is None else self.item.known_type

    def selections_at(self, path: Sequence[str]) -> "list[Selection] | None":
        """The selection for the objects at this position, or at a path of fields below it; None if types differ."""
        if not self.known_type:
            return None
        if self.item is not None:
            return self.item.selections_at(path)
        if not path:
            return [self.selection]
        found: list[Selection] = []
        for field in self.selection.fields:
            if field.name == path[0]:
                below = field.position.selections_at(path[1:])
                if below is None:
                    return None
                found += below
        return found


class Objects:
    """The selections for the objects at a position, by their concrete types."""

    __slots__ = ("_by_type", "_compiler", "_selection_sets", "known")

    def __init__(self, compiler: "Compiler", selection_sets: Sequence[SelectionSetNode], kind: Any) -> None:
        self._compiler = compiler
        self._selection_sets = selection_sets
        self._by_type: dict[str, Selection] = {}
        self.known = compiler.known(kind)
        """Python classes known to be of the position's concrete type."""

    def of(self, kind: GraphQLObjectType) -> "Selection":
        selection = self._by_type.get(kind.name)
        if selection is None:
            selection = self._by_type[kind.name] = Selection(self._compiler, kind, self._selection_sets)
        return selection


class Field:
    """A field of a selection: its key in the answer, the way its values are resolved, and their position."""

    def __init__(self, compiler: "Compiler", parent: GraphQLObjectType, key: str, nodes: list[FieldNode]) -> None:
        self.key = key
        self.nodes = nodes
        self.parent = parent
        self.name = nodes[0].name.value
        self.typename = self.name == "__typename"
        if self.typename:
            return
        definition = parent.fields[self.name]
        field = definition.extensions[STRAWBERRY]
        mark = _mark(field)
        self.batch = mark if isinstance(mark, Batch) else None
        self.computed = mark if isinstance(mark, Computed) else None
        self.stream = mark if isinstance(mark, Stream) else None
        self.python_name: str = field.python_name
        self.needs = mark.needs if mark else (field.python_name,)
        self.read: Callable[[Any, str], Any] = field.default_resolver
        names = {graphql_name(argument): argument.python_name for argument in field.arguments}
        self.arguments = Arguments(definition, nodes[0], names)
        selection_sets = [node.selection_set for node in nodes if node.selection_set]
        self.position = Position(output_type(definition), compiler, selection_sets)

    @cached_property
    def columns(self) -> dict[str, Any]:
        """Adds the argument `columns` for a batch field's resolver: the values wanted of its records (None: any)."""
        if self.batch is None or not self.batch.records_at:
            return {}
        selections: list[Selection] = []
        for path in self.batch.records_at:
            found = self.position.selections_at(path)
            if found is None or any(selection.needs is None for selection in found):
                return {"columns": None}
            selections += found
        for selection in selections:
            selection.find_runs()
        runs = {run for selection in selections for run in selection.runs}
        written = [name for run in runs for _, name in run]
        if len(written) > len(set(written)):
            # With aliases a record could have one long text many times.
            runs.clear()
            for selection in selections:
                selection.parts = selection.fields
        names = {name for selection in selections for name in selection.needs or ()}
        columns = *sorted(names), *sorted(runs)
        for selection in selections:
            selection.places = {column: place for place, column in enumerate(columns)}
        return {"columns": columns}

    @property
    def is_leaf(self) -> bool:
        """True if its values are written straight into the answers of its level."""
        return self.typename or (self.batch is None and self.position.leaf is not None)

    @property
    def is_within(self) -> bool:
        """True if its values are within its parents and of a known type, so that both are written together."""
        return self.batch is None and self.position.known_type

    def value_of(self, parent: Any) -> Any:
        """One parent's value, for a field that is not a batch field."""
        return self.read(parent, self.python_name) if self.computed is None else self.computed.of(parent, self.read)


class Selection:
    """The fields that are selected of one object type, in the order of the answer."""

    def __init__(
        self, compiler: "Compiler", kind: GraphQLObjectType, selection_sets: Sequence[SelectionSetNode]
    ) -> None:
        self.type = kind
        self.compiler = compiler
        self.fields = [
            Field(compiler, kind, key, nodes) for key, nodes in compiler.collect(kind, selection_sets).items()
        ]
        self.children = [field for field in self.fields if not field.is_leaf]
        self.writer: Writer | None = None
        """Writes the answers of all objects at once, once it is compiled."""
        self.places: Mapping[str | Run, int] = {}
        """The indices of plain values, and of runs, in objects that are records (see `Field.columns`)."""
        self.parts: Sequence[Field | Run] = self.fields
        """Its fields, with runs in place of those whose values a record has as one."""

    @property
    def runs(self) -> list[Run]:
        return [part for part in self.parts if isinstance(part, tuple)]

    @property
    def needs(self) -> frozenset[str] | None:
        """The plain values of the parent that its fields read, apart from runs; None when they may read any."""
        needs = [part.needs for part in self.parts if isinstance(part, Field) and not part.typename]
        return None if None in needs else frozenset(name for part in needs for name in part or ())

    @cached_property
    def is_text(self) -> bool:
        """True if its objects are written as text, for the sake of the runs in them: no field is a list or nullable
        object, and none is resolved before."""
        objects = [field for field in self.fields if not field.is_leaf]
        return bool(self.runs or objects) and all(
            field.is_within
            and field.position.nonnull
            and field.position.item is None
            and field.position.selection.is_text
            for field in objects
        )

    def find_runs(self) -> None:
        """Finds the `parts` of a selection for records: runs only if all its fields are leaves."""
        if self.children:
            return
        parts: list[Field | Run] = []
        for field in self.fields:
            if field.typename or field.computed or not self.compiler.may_be_written(field.position.leaf):
                parts.append(field)
            elif parts and isinstance(parts[-1], tuple):
                parts[-1] = (*parts[-1], (field.key, field.python_name))
            else:
                parts.append(((field.key, field.python_name),))
        self.parts = parts

    def values_of(self, parent: Any) -> dict[str, Any]:
        """The values that a record has in runs, as an answer has them."""
        return {key: value for run in self.runs for key, value in orjson.loads(parent[self.places[run]]).items()}

    def compile(self) -> Writer:
        """Compiles the `writer`, which takes a moment for a large selection."""
        self.writer = writer = Writer(self)
        return writer


class Compiler:
    """Compiles the selections of one operation, for one set of flags."""

    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, flags: Flags, known: Known, written: Collection[str]
    ) -> None:
        self.codes: dict[str, CodeType] = {}
        """The compiled code of writers, by source."""
        self.fields = 0
        """The number of compiled fields, from which a plan's size is estimated."""
        self._schema = schema
        self._flags = flags
        self._known = known
        self._written = written
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }

    def known(self, kind: Any) -> set[type]:
        """Python classes known to be of a type."""
        return self._known[kind.name] if isinstance(kind, GraphQLObjectType) else set()

    def may_be_written(self, leaf: GraphQLLeafType | None) -> bool:
        """True if a record may have values of this type as JSON: those of an enum, if they are its values' names."""
        if leaf is None or not self._written:
            return False
        if isinstance(leaf, GraphQLEnumType):
            return all(name == value.value for name, value in leaf.values.items())
        return leaf.name in self._written

    def collect(
        self, kind: GraphQLObjectType, selection_sets: Sequence[SelectionSetNode]
    ) -> dict[str, list[FieldNode]]:
        """The fields of selection sets that apply to an object type, by their keys; fragments are entered once."""
        fields: dict[str, list[FieldNode]] = {}
        entered: set[str] = set()
        for selection_set in selection_sets:
            self._collect(kind, selection_set, fields, entered)
        self.fields += 1 + len(fields)
        return fields

    def _collect(
        self,
        kind: GraphQLObjectType,
        selections: SelectionSetNode,
        fields: dict[str, list[FieldNode]],
        entered: set[str],
    ) -> None:
        for node in selections.selections:
            if not self._included(node):
                continue
            if isinstance(node, FieldNode):
                fields.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
            elif isinstance(node, InlineFragmentNode):
                if self._applies(kind, node.type_condition):
                    self._collect(kind, node.selection_set, fields, entered)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in entered:
                entered.add(node.name.value)
                fragment = self._fragments[node.name.value]
                if self._applies(kind, fragment.type_condition):
                    self._collect(kind, fragment.selection_set, fields, entered)

    def _included(self, node: Any) -> bool:
        for directive in node.directives or ():
            if directive.name.value in ("skip", "include"):
                value = directive.arguments[0].value
                flag = value.value if isinstance(value, BooleanValueNode) else self._flags[value.name.value]
                if flag is (directive.name.value == "skip"):
                    return False
        return True

    def _applies(self, kind: GraphQLObjectType, condition: Any) -> bool:
        if condition is None or condition.name.value == kind.name:
            return True
        wanted = self._schema.type_map[condition.name.value]
        return is_abstract_type(wanted) and self._schema.is_sub_type(wanted, kind)
