"""The rules that a document is validated by: those of graphql-core, two of them our own."""

from graphql import (
    ASTValidationRule,
    NoSchemaIntrospectionCustomRule,
    OverlappingFieldsCanBeMergedRule,
    ValidationContext,
    ValuesOfCorrectTypeRule,
    specified_rules,
)
from graphql.language.visitor import EnterLeaveVisitor

from breadth.wording import LocatedValues

LARGEST_COMPARED = 100_000
"""Limit on comparing the fields of a document with each other, in graphql-core's units: about 0.3 s."""

_PASSED_BY = EnterLeaveVisitor(None, None)


class _OverlappingFields(OverlappingFieldsCanBeMergedRule):
    """graphql-core's rule with a limit on its work; without one it compares fields for seconds."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self.rule_context.remaining_complexity_budget = LARGEST_COMPARED


def _remembering(rule: type[ASTValidationRule]) -> type[ASTValidationRule]:
    """A rule that remembers which kinds of nodes do not concern it.

    graphql-core has each rule look for its methods anew in each document: half of the time of validating a short one.
    """
    unconcerned = set[str]()

    class Remembering(rule):
        def get_enter_leave_for_kind(self, kind: str) -> EnterLeaveVisitor:
            if kind in unconcerned:
                return _PASSED_BY
            found = super().get_enter_leave_for_kind(kind)
            if found == _PASSED_BY:
                unconcerned.add(kind)
            return found

    return Remembering


_OURS: dict[type[ASTValidationRule], type[ASTValidationRule]] = {
    OverlappingFieldsCanBeMergedRule: _OverlappingFields,
    ValuesOfCorrectTypeRule: LocatedValues,
}
RULES = tuple(_remembering(_OURS.get(rule, rule)) for rule in specified_rules)
NO_INTROSPECTION = _remembering(NoSchemaIntrospectionCustomRule)
