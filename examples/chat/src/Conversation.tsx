import { Fragment, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { useConnection } from "./client";
import { Composer } from "./Composer";
import { type Turn, useConversation } from "./conversation";
import { Icon } from "./Icon";
import { Message } from "./Message";
import { Notice } from "./Notice";
import { go, usePlace } from "./place";
import { useKeptScroll } from "./scroll";
import { SessionBar } from "./SessionBar";
import { longDate } from "./time";

const SUGGESTIONS = [
  "I live in Turin and I prefer tea to coffee.",
  "What do you know about me?",
  "Show me some Markdown.",
];

interface Props {
  sessionId: string;
  /** No session was chosen: one begins with the first message. */
  isNew: boolean;
  isContextOpen: boolean;
  onContext(): void;
}

export function Conversation({ sessionId, isNew, isContextOpen, onContext }: Props) {
  const { outbox } = useConnection();
  const { message: wanted } = usePlace();
  const { session, turns, asked, ...pages } = useConversation(sessionId);
  const [draft, setDraft] = useDraft(sessionId);
  const input = useRef<HTMLTextAreaElement>(null);
  const log = useRef<HTMLDivElement>(null);
  const scroll = useKeptScroll(log, turns.at(-1)?.key, pages.loadMore);
  // A message that is on its way makes the session; one that was refused does not.
  const isMissing = !isNew && session === null && turns.every(({ unsent }) => unsent?.state === "refused");

  function send() {
    const text = draft.trim();
    if (!text) return;
    setDraft("");
    // A deleted session is not brought back by a message: the text begins a new one.
    const target = isMissing ? crypto.randomUUID() : sessionId;
    outbox.send(target, text);
    if (target !== sessionId || isNew) go({ session: target }, isMissing ? "push" : "replace");
    scroll.toEnd();
    input.current?.focus();
  }

  const takeBack = useCallback(
    (text: string) => {
      setDraft((draft) => (draft.trim() ? `${text}\n${draft}` : text));
      input.current?.focus();
    },
    [setDraft],
  );

  // A message that a search has found may be many pages back.
  const isFound = turns.some(({ stored }) => stored?.id === wanted);
  useEffect(() => {
    if (wanted && !isFound && pages.hasMore && !pages.isLoading) pages.loadMore();
  });
  useLayoutEffect(() => {
    if (isFound && wanted) scroll.to(wanted);
  }, [isFound, wanted]);

  return (
    <main className="conversation">
      {session ? (
        <SessionBar session={session} isContextOpen={isContextOpen} onContext={onContext} />
      ) : (
        <div className="session-bar" />
      )}
      <div className="log" role="log" aria-label="Conversation" tabIndex={0} ref={log} onScroll={scroll.onScroll}>
        {pages.isLoading && turns.length > 0 && pages.hasMore && <p className="loading">Loading older ones…</p>}
        {wanted && !isFound && session && !pages.hasMore && !pages.isLoading && (
          <Notice kind="info">What you looked for is not here any more.</Notice>
        )}
        {turns.map((turn, index) => (
          <Fragment key={turn.key}>
            {dayOf(turn) !== dayOf(turns[index - 1]) && <p className="day">{longDate(timeOf(turn))}</p>}
            <Message turn={turn} isMarked={!!wanted && turn.stored?.id === wanted} onTakeBack={takeBack} />
          </Fragment>
        ))}
        {turns.length === 0 && !pages.failure && (isNew || session) && (
          <div className="welcome">
            <h2>What would you like to remember?</h2>
            <p>
              Say something about yourself. What you plainly state becomes a memory, with the message as its source.
            </p>
            {SUGGESTIONS.map((text) => (
              <button type="button" key={text} onClick={() => takeBack(text)}>
                {text}
              </button>
            ))}
          </div>
        )}
        {!isNew && pages.data === undefined && !pages.failure && turns.length === 0 && <Waiting />}
        {asked && !asked.problem && (
          <p className="writing" role="status">
            The assistant is writing<span aria-hidden="true">…</span>
          </p>
        )}
      </div>
      <div className="below">
        {scroll.hasNews && (
          <button type="button" className="news" onClick={scroll.toEnd}>
            <Icon name="down" /> New below
          </button>
        )}
        {pages.failure && !isNew && (
          <Notice kind="problem" action={{ label: "Try again", run: pages.refetch }}>
            {pages.failure.message}
          </Notice>
        )}
        {isMissing && (
          <Notice kind="info">This session was deleted, or is not yours. What you send begins a new one.</Notice>
        )}
        {session?.endedAt && <Notice kind="info">This session has ended. Reopen it to go on.</Notice>}
        {asked?.problem && (
          <Notice kind="problem" action={{ label: "Ask again", run: () => outbox.ask(sessionId, asked.messageId) }}>
            The assistant did not answer. {asked.problem}
          </Notice>
        )}
        <Composer draft={draft} onDraft={setDraft} onSend={send} input={input} />
      </div>
    </main>
  );
}

/** A server that takes its time is no failure, but it is said. */
function Waiting() {
  const [isSlow, setIsSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setIsSlow(true), 4_000);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div className="skeleton" role="status" aria-label="Loading">
      <i />
      <i />
      <i />
      {isSlow && <p className="hint">The server is slow to answer. You can write meanwhile.</p>}
    </div>
  );
}

/** What was typed and not sent, kept for each session over a reload. */
function useDraft(sessionId: string) {
  const place = `draft of ${sessionId}`;
  const [draft, setDraft] = useState(() => sessionStorage.getItem(place) ?? "");
  useEffect(() => {
    if (draft) sessionStorage.setItem(place, draft);
    else sessionStorage.removeItem(place);
  }, [draft, place]);
  return [draft, setDraft] as const;
}

const timeOf = ({ stored, unsent }: Turn) => stored?.createdAt ?? unsent?.writtenAt ?? "";
const dayOf = (turn: Turn | undefined) => turn && new Date(timeOf(turn)).toDateString();
