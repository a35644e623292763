import { useEffect } from "react";
import { useConnection } from "./client";
import { SessionChanged, Sessions as SessionsQuery } from "./documents";
import type { SessionItemFragment, SessionsQuery as Data } from "./generated/graphql";
import { Notice } from "./Notice";
import { usePages } from "./pages";
import { go } from "./place";
import { shortTime } from "./time";

const PAGE = 30;

export function titleOf({ title, opening }: SessionItemFragment): string {
  return title || opening.nodes[0]?.content.slice(0, 80) || "New session";
}

interface Props {
  current: string | null;
  /** Called when the list is there, or has failed, with the sessionId of the newest. */
  onListed(newest: string | undefined): void;
}

export function Sessions({ current, onListed }: Props) {
  const { client, user } = useConnection();
  const pages = usePages(user, {
    query: SessionsQuery,
    variablesAt: (after) => ({ first: PAGE, after }),
    pageOf: ({ viewer }: Data) =>
      viewer.user && {
        items: viewer.user.sessions.edges.map(({ node }) => node),
        next: viewer.user.sessions.pageInfo.hasNextPage ? (viewer.user.sessions.pageInfo.endCursor ?? null) : null,
      },
  });
  useEffect(() => client.subscription(SessionChanged, {}).subscribe(() => {}).unsubscribe, [client]);

  const sessions = [...new Map(pages.items.map((session) => [session.id, session])).values()].sort((a, b) =>
    a.createdAt < b.createdAt ? 1 : -1,
  );
  const isListed = !!(pages.data || pages.failure);
  useEffect(() => {
    if (isListed) onListed(sessions[0]?.sessionId);
  }, [isListed]);

  return (
    <nav className="sessions" aria-label="Sessions">
      {pages.failure && (
        <Notice kind="problem" action={{ label: "Try again", run: pages.refetch }}>
          {pages.failure.message}
        </Notice>
      )}
      {!pages.data && !pages.failure && <Skeleton />}
      {pages.data && sessions.length === 0 && (
        <p className="hint">No sessions yet. The first one begins when you write something.</p>
      )}
      <ul>
        {sessions.map((session) => (
          <li key={session.id}>
            <a
              href={`?${new URLSearchParams({ user, session: session.sessionId })}`}
              aria-current={session.sessionId === current ? "page" : undefined}
              onClick={(event) => {
                if (event.metaKey || event.ctrlKey || event.shiftKey) return;
                event.preventDefault();
                go({ session: session.sessionId });
              }}
            >
              <span className="title">{titleOf(session)}</span>
              <span className="detail">
                <time dateTime={session.createdAt}>{shortTime(session.createdAt)}</time>
                {session.endedAt && " · ended"}
              </span>
            </a>
          </li>
        ))}
      </ul>
      {pages.hasMore && (
        <button type="button" className="more" disabled={pages.isLoading} onClick={pages.loadMore}>
          Show more
        </button>
      )}
    </nav>
  );
}

function Skeleton() {
  return (
    <div className="skeleton" aria-label="Loading" role="status">
      <i />
      <i />
      <i />
    </div>
  );
}
