// What the normalized cache cannot know by itself: which objects an event or a mutation adds to a list, or removes.
import { type Cache, cacheExchange, type Entity } from "@urql/exchange-graphcache";
import type { Change } from "./generated/graphql";

// `id` is unique and never given again, so it is the key of whatever has one. These types have none.
const EMBEDDED = [
  "AddMessagesPayload",
  "Context",
  "CreateSessionPayload",
  "DeleteMemoryPayload",
  "DeleteMessagePayload",
  "DeleteSessionPayload",
  "EndSessionPayload",
  "MemoryConnection",
  "MemoryEdge",
  "MemoryEvent",
  "MemorySourceConnection",
  "MessageConnection",
  "MessageEvent",
  "PageInfo",
  "ReopenSessionPayload",
  "SearchConnection",
  "SearchEdge",
  "SessionConnection",
  "SessionEvent",
  "UpdateMemoryPayload",
  "UpdateMessagePayload",
  "UpdateSessionPayload",
  "UserError",
];

interface Edge {
  __typename: "MessageEdge";
  cursor: string;
  node: Entity;
}

interface Event {
  change: Change;
  nodeId: string;
  session?: Node | null;
}

interface Node {
  __typename: "Session" | "Message";
  id: string;
}

export const createCache = () =>
  cacheExchange({
    keys: {
      ...Object.fromEntries(EMBEDDED.map((type) => [type, () => null])),
      // The cursor of an edge in a list's own order stays the same, and so names the edge.
      MessageEdge: ({ cursor }) => cursor as string,
      SessionEdge: ({ cursor, node }) => (cursor ?? (node as unknown as Node).id) as string,
    },
    updates: {
      Mutation: {
        addMessages(result, _, cache) {
          const { session, messageEdges } = result.addMessages as unknown as { session: Node; messageEdges: Edge[] };
          if (!session) return;
          addSession(cache, session);
          for (const edge of messageEdges) addMessage(cache, session, edge);
        },
        createSession(result, _, cache) {
          const { session } = result.createSession as unknown as { session: Node };
          if (session) addSession(cache, session);
        },
        deleteSession(result, _, cache) {
          const { deletedSessionId } = result.deleteSession as { deletedSessionId?: string };
          if (deletedSessionId) removeSession(cache, deletedSessionId);
        },
        deleteMessage(result, _, cache) {
          const { deletedMessageId } = result.deleteMessage as { deletedMessageId?: string };
          if (deletedMessageId) removeMessage(cache, deletedMessageId);
        },
      },
      Subscription: {
        messageAdded(result, _, cache) {
          const edge = result.messageAdded as unknown as Edge & { node: { session: Node } };
          addMessage(cache, edge.node.session, edge);
        },
        messageChanged(result, _, cache) {
          const { change, nodeId } = result.messageChanged as unknown as Event;
          if (change === "DELETED") removeMessage(cache, nodeId);
        },
        sessionChanged(result, _, cache) {
          const { change, nodeId, session } = result.sessionChanged as unknown as Event;
          if (change === "DELETED") removeSession(cache, nodeId);
          else if (session) addSession(cache, session);
        },
      },
    },
  });

function addMessage(cache: Cache, session: Node, edge: Edge): void {
  const key = cache.keyOfEntity(edge as never);
  for (const connection of connectionsOf(cache, cache.keyOfEntity(session as never), "messages", "last")) {
    const edges = cache.resolve(connection.key, "edges") as string[] | undefined;
    // New messages belong to the newest page only.
    if (!key || !edges || edges.includes(key) || connection.arguments?.before) continue;
    // Two answers may come in either order, so the place is the message's own.
    const sequence = (each: string) => cache.resolve(cache.resolve(each, "node") as string, "sequence") as number;
    cache.link(
      connection.key,
      "edges",
      [...edges, key].sort((a, b) => sequence(a) - sequence(b)),
    );
  }
}

function removeMessage(cache: Cache, id: string): void {
  const message = `Message:${id}`;
  for (const { fieldKey, fieldName } of cache.inspectFields("Query")) {
    if (fieldName !== "session") continue;
    const session = cache.resolve("Query", fieldKey) as string | null;
    for (const connection of connectionsOf(cache, session, "messages", "last"))
      removeEdge(cache, connection.key, message);
  }
}

function addSession(cache: Cache, session: Node): void {
  const key = cache.keyOfEntity(session as never);
  const sessionId = cache.resolve(key, "sessionId") as string;
  // A query of a session that was not there yet has remembered that there is none.
  if (cache.resolve("Query", "session", { sessionId }) === null) cache.link("Query", "session", { sessionId }, key);
  const pages = sessionPages(cache);
  const edgesOf = (page: string) => cache.resolve(page, "edges") as string[];
  if (pages.some((page) => edgesOf(page.key).some((edge) => cache.resolve(edge, "node") === key))) return;
  const newest = pages.find((page) => !page.arguments?.after);
  if (!newest) return;
  const edge = { __typename: "SessionEdge", cursor: `new:${session.id}`, node: session };
  cache.link(newest.key, "edges", [edge as never, ...edgesOf(newest.key)]);
}

function removeSession(cache: Cache, id: string): void {
  const session = `Session:${id}`;
  for (const page of sessionPages(cache)) removeEdge(cache, page.key, session);
  for (const { fieldKey, fieldName } of cache.inspectFields("Query")) {
    if (fieldName === "session" && cache.resolve("Query", fieldKey) === session) cache.invalidate("Query", fieldKey);
  }
}

function sessionPages(cache: Cache) {
  const user = cache.resolve(cache.resolve("Query", "viewer") as string, "user") as string | null;
  return connectionsOf(cache, user, "sessions", "first");
}

/** The pages of a list that the cache holds: those of its fields that have this argument. */
function connectionsOf(cache: Cache, owner: string | null, fieldName: string, argument: string) {
  if (!owner) return [];
  return cache
    .inspectFields(owner)
    .filter((field) => field.fieldName === fieldName && field.arguments?.[argument])
    .map((field) => ({ key: cache.resolve(owner, field.fieldKey) as string, arguments: field.arguments }))
    .filter((connection) => connection.key);
}

function removeEdge(cache: Cache, connection: string, node: string): void {
  const edges = cache.resolve(connection, "edges") as string[];
  const kept = edges.filter((edge) => cache.resolve(edge, "node") !== node);
  if (kept.length < edges.length) cache.link(connection, "edges", kept);
}
