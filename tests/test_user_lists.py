"""Lists of users: filters and orders."""

from tests.servers import Server
from tests.users import LIST, create, get, listed, update

# What a metadata contains and what it does not, as PostgreSQL's @> has it.
CONTAINMENT = [
    ({"db_uuid": "1234", "x": 1}, {"db_uuid": "1234"}, True),
    ({"db_uuid": "1234"}, {"db_uuid": 1234}, False),
    ({"db_uuid": "1234"}, {"db_uuid": "12"}, False),
    ({"db_uuid": "1234"}, {"DB_UUID": "1234"}, False),
    ({"a": 1, "b": 2}, {"a": 1, "b": 2}, True),
    ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
    ({"a": {"b": 1, "c": 2}}, {"b": 1}, False),
    ({"a": {"b": {"c": {"d": "deep"}}}}, {"a": {"b": {"c": {"d": "deep"}}}}, True),
    ({"a": {"b": 1}}, {"a": {}}, True),
    ({"a": {"b": 1}}, {"a": []}, False),
    ({"a": 1}, {"a": {}}, False),
    ({"a": 1}, {}, True),
    ({}, {}, True),
    ({}, {"a": None}, False),
    ({"a": None}, {"a": None}, True),
    ({"a": None}, {"a": False}, False),
    ({"a": 0}, {"a": None}, False),
    ({"a": True}, {"a": 1}, False),
    ({"a": 1}, {"a": True}, False),
    ({"a": False}, {"a": 0}, False),
    ({"a": True}, {"a": True}, True),
    ({"a": True}, {"a": "true"}, False),
    ({"a": 1}, {"a": 1.0}, True),
    ({"a": 1.5}, {"a": 1.5}, True),
    ({"a": 9007199254740993}, {"a": 9007199254740993}, True),
    ({"a": 9007199254740993}, {"a": 9007199254740992}, False),
    ({"tags": ["a", "b"]}, {"tags": ["b"]}, True),
    ({"tags": ["a", "b"]}, {"tags": ["b", "a"]}, True),
    ({"tags": ["a", "b"]}, {"tags": ["a", "a"]}, True),
    ({"tags": ["a", "b"]}, {"tags": ["a", "c"]}, False),
    ({"tags": ["a", "b"]}, {"tags": []}, True),
    ({"tags": ["a", "b"]}, {"tags": "a"}, False),
    ({"tags": "a"}, {"tags": ["a"]}, False),
    ({"tags": [1, 2]}, {"tags": [True]}, False),
    ({"tags": [True]}, {"tags": [1]}, False),
    ({"l": [{"a": 1, "b": 2}]}, {"l": [{"a": 1}]}, True),
    ({"l": [{"a": 1}, {"b": 2}]}, {"l": [{"a": 1, "b": 2}]}, False),
    ({"l": [[1, 2], [3]]}, {"l": [[1]]}, True),
    ({"l": [[1, 2], [3]]}, {"l": [[1, 3]]}, False),
    ({"a.b": 1}, {"a.b": 1}, True),
    ({"a": {"b": 1}}, {"a.b": 1}, False),
    ({'quo"te': 1}, {'quo"te': 1}, True),
    ({"": 1}, {"": 1}, True),
    ({"$": {"a": 1}}, {"$": {"a": 1}}, True),
    ({"a[0]": 1}, {"a[0]": 1}, True),
    ({"it's": "100%_\\"}, {"it's": "100%_\\"}, True),
    ({"ключ": "значение 😀"}, {"ключ": "значение 😀"}, True),
]


def test_emails_are_found_exactly_but_casefolded(server: Server) -> None:
    create(server, userId="1", email="Ada@Example.org")
    create(server, userId="2", email="ada@example.org")
    create(server, userId="3", email="ada@example.or")
    create(server, userId="4", email="straße@example.org")
    create(server, userId="5")
    assert get(server, "1")["email"] == "Ada@Example.org"
    for email in ("ada@example.org", "ADA@EXAMPLE.ORG", "Ada@Example.org"):
        assert listed(server, emails=[email], order="USER_ID ASC") == ["1", "2"]
    assert listed(server, emails=["STRASSE@example.org"]) == ["4"]
    assert listed(server, emails=["ada@example"]) == []
    assert listed(server, emails=["%@example.org"]) == []
    assert listed(
        server, emails=["nobody@example.org", "ADA@example.or", "straße@EXAMPLE.org"], order="USER_ID ASC"
    ) == [
        "3",
        "4",
    ]


def test_an_email_that_changes_is_found_under_the_new_one_only(server: Server) -> None:
    create(server, userId="ada", email="old@example.org")
    update(server, userId="ada", email="NEW@example.org")
    assert listed(server, emails=["old@example.org"]) == []
    assert listed(server, emails=["new@example.org"]) == ["ada"]


def test_users_are_found_by_what_their_metadata_contains(server: Server) -> None:
    for number, (metadata, filter_, contained) in enumerate(CONTAINMENT):
        create(server, userId=str(number), metadata=metadata)
        found = listed(server, metadata=filter_, userIds=[str(number)])
        assert found == ([str(number)] if contained else []), (metadata, filter_)
    assert len(listed(server, metadata={})) == len(CONTAINMENT)


def test_metadata_is_found_as_it_is_now(server: Server) -> None:
    create(server, userId="ada", metadata={"plan": "free", "keep": 1})
    update(server, userId="ada", metadata={"plan": "pro"})
    assert listed(server, metadata={"plan": "free"}) == []
    assert listed(server, metadata={"plan": "pro", "keep": 1}) == ["ada"]


def test_a_metadata_filter_that_is_no_object_is_bad_user_input(server: Server) -> None:
    for value in ([], "text", 1, True):
        (error,) = server.errors(LIST, filter={"metadata": value})
        assert error["extensions"]["code"] == "BAD_USER_INPUT"


def test_users_are_filtered_by_key(server: Server) -> None:
    for key in "abc":
        create(server, userId=key)
    assert listed(server, userIds=["c", "a", "nobody", "a"], order="USER_ID ASC") == ["a", "c"]
    assert listed(server, userIds=["nobody"]) == []


def test_filters_apply_together(server: Server) -> None:
    create(server, userId="1", email="a@example.org", metadata={"plan": "pro"})
    create(server, userId="2", email="a@example.org", metadata={"plan": "free"})
    create(server, userId="3", email="b@example.org", metadata={"plan": "pro"})
    assert listed(server, emails=["A@example.org"], metadata={"plan": "pro"}) == ["1"]
    assert listed(server, emails=["A@example.org"], userIds=["2", "3"]) == ["2"]


def test_a_time_range_includes_its_start_and_not_its_end(server: Server) -> None:
    for day in range(1, 5):
        create(server, userId=str(day), createdAt=f"2020-01-0{day}T00:00:00Z")
    ascending = "CREATED_AT ASC"

    def within(**range_: str) -> list[str]:
        return listed(server, order=ascending, createdAt=range_)

    assert within(since="2020-01-02T00:00:00Z", until="2020-01-04T00:00:00Z") == ["2", "3"]
    assert within(since="2020-01-03T00:00:00Z") == ["3", "4"]
    assert within(until="2020-01-03T00:00:00Z") == ["1", "2"]
    assert within() == ["1", "2", "3", "4"]
    assert within(since="2020-01-02T02:00:00+02:00", until="2020-01-02T00:00:00.000001Z") == ["2"]
    assert within(since="2020-01-02T00:00:00.000001Z", until="2020-01-03T00:00:00Z") == []
    assert within(since="2020-01-03T00:00:00Z", until="2020-01-03T00:00:00Z") == []


def test_users_are_found_by_when_they_were_changed(server: Server) -> None:
    for key in "abc":
        create(server, userId=key, createdAt="2020-01-01T00:00:00Z")
    since = update(server, userId="a", about="changed")["updatedAt"]
    assert listed(server, updatedAt={"since": since}) == ["a"]
    assert "a" not in listed(server, updatedAt={"until": since})


def test_users_are_listed_newest_first_unless_ordered_otherwise(server: Server) -> None:
    for key, day in (("b", 2), ("c", 1), ("a", 3)):
        create(server, userId=key, createdAt=f"2020-01-0{day}T00:00:00Z")
    update(server, userId="c", about="changed")
    update(server, userId="a", about="changed")
    assert listed(server) == ["a", "b", "c"]
    assert listed(server, order="CREATED_AT DESC") == ["a", "b", "c"]
    assert listed(server, order="CREATED_AT ASC") == ["c", "b", "a"]
    assert listed(server, order="USER_ID ASC") == ["a", "b", "c"]
    assert listed(server, order="USER_ID DESC") == ["c", "b", "a"]
    assert listed(server, order="UPDATED_AT DESC") == ["a", "c", "b"]
    assert listed(server, order="UPDATED_AT ASC") == ["b", "c", "a"]


def test_keys_are_sorted_by_code_point(server: Server) -> None:
    keys = ["10", "9", "A", "Z", "a", "a b", "aa", "b", "é", "ю", "\uff5e", "😀"]
    for key in reversed(keys):
        create(server, userId=key)
    assert keys == sorted(keys)
    assert listed(server, order="USER_ID ASC") == keys
    assert listed(server, order="USER_ID DESC") == keys[::-1]


def test_users_created_at_one_time_have_a_fixed_order(server: Server) -> None:
    for key in "bdac":
        create(server, userId=key, createdAt="2020-01-01T00:00:00Z")
    newest_first = listed(server)
    assert newest_first in (["a", "b", "c", "d"], ["d", "c", "b", "a"])
    assert (
        listed(server, order="CREATED_AT ASC") == newest_first[::-1]
        or listed(server, order="CREATED_AT ASC") == newest_first
    )
