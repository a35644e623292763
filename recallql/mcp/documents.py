"""The GraphQL documents of the tools and resources."""

ADD_MESSAGES = """
mutation ($input: AddMessagesInput!) {
  payload: addMessages(input: $input) {
    session { sessionId }
    messages { id sequence }
    userErrors { code message path }
  }
}
"""

REMEMBER = """
mutation ($input: CreateMemoryInput!) {
  payload: createMemory(input: $input) {
    memory { id kind createdAt }
    userErrors { code message path }
  }
}
"""

FORGET = """
mutation ($input: DeleteMemoryInput!) {
  payload: deleteMemory(input: $input) { deletedMemoryId userErrors { code message path } }
}
"""

# Of a document only the passage is read that answers: it may have a mebibyte.
RECALL = """
query ($query: String!, $userId: String, $sessionId: String, $first: Int!) {
  search(query: $query, userId: $userId, sessionId: $sessionId, first: $first) {
    edges {
      score
      highlight
      node {
        __typename
        ... on Message { id sequence role name content createdAt session { sessionId user { userId } } }
        ... on Memory { id kind content about createdAt validFrom validUntil session { sessionId } user { userId } }
        ... on Document { id title createdAt user { userId } }
      }
    }
    pageInfo { hasNextPage }
  }
}
"""

CONTEXT = """
query (
  $query: String
  $maxTokens: Int
  $sessionId: String = ""
  $ofSession: Boolean!
  $userId: String = ""
  $ofUser: Boolean!
  $ofViewer: Boolean!
) {
  session(sessionId: $sessionId) @include(if: $ofSession) {
    user { userId }
    context(query: $query, maxTokens: $maxTokens) { ...Packed }
  }
  user(userId: $userId) @include(if: $ofUser) { context(query: $query, maxTokens: $maxTokens) { ...Packed } }
  viewer @include(if: $ofViewer) { user { context(query: $query, maxTokens: $maxTokens) { ...Packed } } }
}

fragment Packed on Context {
  text
  tokenCount
  maxTokens
  messages { id sequence role name content createdAt }
  droppedMessages
}
"""

LIST_SESSIONS = """
query ($first: Int!, $after: String, $filter: SessionFilter) {
  sessions(
    first: $first, after: $after, filter: $filter, orderBy: { field: LAST_ACTIVITY_AT, direction: DESC }
  ) {
    nodes { sessionId title situation createdAt lastActivityAt endedAt user { userId } }
    pageInfo { hasNextPage endCursor }
  }
}
"""

READ_SESSION = """
query ($sessionId: String!, $last: Int!, $before: String) {
  session(sessionId: $sessionId) {
    sessionId
    title
    situation
    createdAt
    lastActivityAt
    endedAt
    user { userId }
    summary { content }
    messages(last: $last, before: $before) {
      nodes { id sequence role name content createdAt }
      pageInfo { hasPreviousPage startCursor }
    }
  }
}
"""

READ_USER = """
query ($userId: String!, $first: Int!) {
  user(userId: $userId) {
    userId
    name
    about
    summary { content }
    memories(first: $first) {
      nodes { id kind content about createdAt validFrom validUntil }
      pageInfo { hasNextPage }
    }
  }
}
"""

LIST_RESOURCES = """
query ($first: Int!) {
  viewer { user { userId name } }
  sessions(first: $first, orderBy: { field: LAST_ACTIVITY_AT, direction: DESC }) { nodes { sessionId title } }
}
"""
