// Every operation of the page. `npm run codegen` checks them against schema.graphql and writes their types.
import { graphql } from "./generated";

// The list names an untitled session by its first message, so no title has to be written for it.
export const SessionItem = graphql(`
  fragment SessionItem on Session {
    id
    sessionId
    title
    createdAt
    endedAt
    opening: messages(first: 1, filter: { roles: [USER] }) {
      nodes {
        id
        content
      }
    }
  }
`);

export const MessageItem = graphql(`
  fragment MessageItem on Message {
    id
    messageId
    sequence
    role
    name
    content
    toolCalls
    toolCallId
    createdAt
    version
  }
`);

export const MemoryItem = graphql(`
  fragment MemoryItem on Memory {
    id
    kind
    content
    method
    about
    createdAt
    validFrom
    validUntil
    version
    supersededBy {
      id
      content
    }
    sources(first: 5) {
      nodes {
        __typename
        ... on Message {
          id
          content
          session {
            id
            sessionId
          }
        }
        ... on Document {
          id
          title
        }
      }
    }
  }
`);

export const Sessions = graphql(`
  query Sessions($first: Int!, $after: String) {
    viewer {
      id
      user {
        id
        sessions(first: $first, after: $after) {
          edges {
            cursor
            node {
              ...SessionItem
            }
          }
          pageInfo {
            hasNextPage
            endCursor
          }
        }
      }
    }
  }
`);

export const Conversation = graphql(`
  query Conversation($sessionId: String!, $last: Int!, $before: String) {
    session(sessionId: $sessionId) {
      ...SessionItem
      messages(last: $last, before: $before) {
        edges {
          cursor
          node {
            ...MessageItem
          }
        }
        pageInfo {
          hasPreviousPage
          startCursor
          endCursor
        }
      }
    }
  }
`);

export const Memories = graphql(`
  query Memories($first: Int!, $after: String, $filter: MemoryFilter) {
    viewer {
      id
      user {
        id
        memories(first: $first, after: $after, filter: $filter) {
          edges {
            cursor
            node {
              ...MemoryItem
            }
          }
          pageInfo {
            hasNextPage
            endCursor
          }
        }
      }
    }
  }
`);

export const Search = graphql(`
  query Search($query: String!, $first: Int!, $after: String) {
    search(query: $query, scope: [MESSAGES, MEMORIES], first: $first, after: $after) {
      edges {
        cursor
        highlight
        node {
          __typename
          ... on Message {
            id
            role
            content
            createdAt
            session {
              ...SessionItem
            }
          }
          ... on Memory {
            id
            kind
            content
            createdAt
            sources(first: 1) {
              nodes {
                __typename
                ... on Message {
                  id
                  session {
                    id
                    sessionId
                  }
                }
              }
            }
          }
        }
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`);

export const Context = graphql(`
  query Context($sessionId: String!, $question: String, $maxTokens: Int!) {
    session(sessionId: $sessionId) {
      id
      context(query: $question, maxTokens: $maxTokens) {
        text
        tokenCount
        maxTokens
        droppedMessages
        messages {
          ...MessageItem
        }
      }
    }
  }
`);

export const AddMessages = graphql(`
  mutation AddMessages($input: AddMessagesInput!) {
    addMessages(input: $input) {
      session {
        ...SessionItem
      }
      messageEdges {
        cursor
        node {
          ...MessageItem
        }
      }
      userErrors {
        code
        message
      }
    }
  }
`);

export const CreateSession = graphql(`
  mutation CreateSession($input: CreateSessionInput!) {
    createSession(input: $input) {
      session {
        ...SessionItem
      }
      userErrors {
        code
        message
      }
    }
  }
`);

export const UpdateSession = graphql(`
  mutation UpdateSession($input: UpdateSessionInput!) {
    updateSession(input: $input) {
      session {
        ...SessionItem
      }
      userErrors {
        code
        message
      }
    }
  }
`);

export const EndSession = graphql(`
  mutation EndSession($input: EndSessionInput!) {
    endSession(input: $input) {
      session {
        ...SessionItem
      }
      userErrors {
        code
        message
      }
    }
  }
`);

export const ReopenSession = graphql(`
  mutation ReopenSession($input: ReopenSessionInput!) {
    reopenSession(input: $input) {
      session {
        ...SessionItem
      }
      userErrors {
        code
        message
      }
    }
  }
`);

export const DeleteSession = graphql(`
  mutation DeleteSession($input: DeleteSessionInput!) {
    deleteSession(input: $input) {
      deletedSessionId
      userErrors {
        code
        message
      }
    }
  }
`);

export const UpdateMessage = graphql(`
  mutation UpdateMessage($input: UpdateMessageInput!) {
    updateMessage(input: $input) {
      message {
        ...MessageItem
      }
      userErrors {
        code
        message
      }
    }
  }
`);

export const DeleteMessage = graphql(`
  mutation DeleteMessage($input: DeleteMessageInput!) {
    deleteMessage(input: $input) {
      deletedMessageId
      userErrors {
        code
        message
      }
    }
  }
`);

export const UpdateMemory = graphql(`
  mutation UpdateMemory($input: UpdateMemoryInput!) {
    updateMemory(input: $input) {
      memory {
        ...MemoryItem
      }
      userErrors {
        code
        message
      }
    }
  }
`);

export const DeleteMemory = graphql(`
  mutation DeleteMemory($input: DeleteMemoryInput!) {
    deleteMemory(input: $input) {
      deletedMemoryId
      userErrors {
        code
        message
      }
    }
  }
`);

export const MessageAdded = graphql(`
  subscription MessageAdded($sessionId: String!, $after: String, $afterSequence: Int) {
    messageAdded(sessionId: $sessionId, after: $after, afterSequence: $afterSequence) {
      cursor
      node {
        ...MessageItem
        session {
          id
        }
      }
    }
  }
`);

export const MessageChanged = graphql(`
  subscription MessageChanged($sessionId: String!) {
    messageChanged(sessionId: $sessionId) {
      change
      nodeId
      message {
        ...MessageItem
      }
    }
  }
`);

export const SessionChanged = graphql(`
  subscription SessionChanged {
    sessionChanged {
      change
      nodeId
      session {
        ...SessionItem
      }
    }
  }
`);

export const MemoryChanged = graphql(`
  subscription MemoryChanged {
    memoryChanged {
      change
      nodeId
      memory {
        ...MemoryItem
      }
    }
  }
`);
