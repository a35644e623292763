"""The GraphQL documents that several files send: a mutation each, with its input as the variable `$input`."""

VIEWER = "{ viewer { role } }"
NODES = "query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"
ERRORS = "userErrors { code message path }"


def mutation(name: str, selection: str) -> str:
    """A document that carries out this mutation and selects this of its payload, beside the errors."""
    return f"""mutation ($input: {name[0].upper()}{name[1:]}Input!) {{
  {name}(input: $input) {{ {selection} {ERRORS} }} }}"""


CREATE_USER = mutation("createUser", "user { id }")
UPDATE_USER = mutation("updateUser", "user { id }")
DELETE_USER = mutation("deleteUser", "deletedUserId")
ISSUE_USER_TOKEN = mutation("issueUserToken", "token expiresAt")

CREATE_AGENT = mutation("createAgent", "agent { id }")
DELETE_AGENT = mutation("deleteAgent", "deletedAgentId")

CREATE_SESSION = mutation("createSession", "session { id }")
UPDATE_SESSION = mutation("updateSession", "session { id }")
END_SESSION = mutation("endSession", "session { id }")
REOPEN_SESSION = mutation("reopenSession", "session { id }")
DELETE_SESSION = mutation("deleteSession", "deletedSessionId")
PURGE_DELETED = mutation("purgeDeleted", "sessions")

ADD_MESSAGES = mutation("addMessages", "session { id } messages { id sequence content } deduplicated")
UPDATE_MESSAGE = mutation("updateMessage", "message { id }")
DELETE_MESSAGE = mutation("deleteMessage", "deletedMessageId")
DELETE_MESSAGES = mutation("deleteMessages", "deletedMessageIds hasMore")

CREATE_MEMORY = mutation("createMemory", "memory { id }")
UPDATE_MEMORY = mutation("updateMemory", "memory { id }")
DELETE_MEMORY = mutation("deleteMemory", "deletedMemoryId")

CREATE_DOCUMENT = mutation("createDocument", "document { id }")
UPDATE_DOCUMENT = mutation("updateDocument", "document { id }")
DELETE_DOCUMENT = mutation("deleteDocument", "deletedDocumentId")
