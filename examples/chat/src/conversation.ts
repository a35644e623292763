// One conversation: its stored messages, live, and those of the outbox.
import { useEffect, useMemo, useState, useSyncExternalStore } from "react";
import { useConnection } from "./client";
import { Conversation, MessageAdded, MessageChanged } from "./documents";
import type { ConversationQuery, MessageItemFragment } from "./generated/graphql";
import type { Unsent } from "./outbox";
import { usePages } from "./pages";

export interface Turn {
  /** The same for an optimistic message and the stored one that follows it, so both are one element. */
  key: string;
  stored?: MessageItemFragment;
  unsent?: Unsent;
}

const PAGE = 40;

type Edge = NonNullable<ConversationQuery["session"]>["messages"]["edges"][number];

export function useConversation(sessionId: string) {
  const { client, outbox } = useConnection();
  const { unsent, asked } = useSyncExternalStore(outbox.subscribe, outbox.getState);
  const pages = usePages(sessionId, {
    query: Conversation,
    variablesAt: (before) => ({ sessionId, last: PAGE, before }),
    pageOf: ({ session }: ConversationQuery) =>
      session && {
        items: session.messages.edges,
        next: session.messages.pageInfo.hasPreviousPage ? (session.messages.pageInfo.startCursor ?? null) : null,
      },
  });
  const session = pages.data?.session;
  const isThere = !!session;
  const [attempt, setAttempt] = useState(0);

  useEffect(() => {
    if (!session) return;
    // From where the page ends that was read: what has been added since comes first.
    const after = session.messages.edges.at(-1)?.cursor;
    const place = after ? { after } : { afterSequence: 0 };
    let timer: ReturnType<typeof setTimeout>;
    const added = client.subscription(MessageAdded, { sessionId, ...place }).subscribe(({ error }) => {
      if (!error) return;
      // The place is gone, such as after a restored backup: read everything again, and go on from there.
      pages.refetch();
      timer = setTimeout(() => setAttempt(attempt + 1), 2_000);
    });
    const changed = client.subscription(MessageChanged, { sessionId }).subscribe(() => {});
    return () => {
      clearTimeout(timer);
      added.unsubscribe();
      changed.unsubscribe();
    };
  }, [client, sessionId, isThere, attempt]);

  const turns = useMemo(
    () =>
      turnsOf(
        pages.items,
        unsent.filter((each) => each.sessionId === sessionId),
      ),
    [pages.items, unsent, sessionId],
  );
  useEffect(() => outbox.forget(new Set(turns.filter((turn) => turn.stored).map((turn) => turn.key))), [outbox, turns]);
  return { ...pages, session, turns, asked: asked[sessionId] };
}

function turnsOf(edges: Edge[], unsent: Unsent[]): Turn[] {
  const stored = new Map(edges.map(({ node }) => [node.id, node]));
  const turns: Turn[] = [...stored.values()]
    .sort((a, b) => a.sequence - b.sequence)
    .map((message) => ({ key: message.messageId ?? message.id, stored: message }));
  const keys = new Set(turns.map((turn) => turn.key));
  // The event of a message may come before the answer that takes it out of the outbox.
  const waiting = unsent.filter(({ messageId }) => !keys.has(messageId));
  return [...turns, ...waiting.map((each) => ({ key: each.messageId, unsent: each }))];
}
