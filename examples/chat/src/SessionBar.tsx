import { useState } from "react";
import { carryOut, useAction, useConnection } from "./client";
import { DeleteSession, EndSession, ReopenSession, UpdateSession } from "./documents";
import type { SessionItemFragment } from "./generated/graphql";
import { Icon } from "./Icon";
import { go } from "./place";
import { titleOf } from "./Sessions";

interface Props {
  session: SessionItemFragment;
  isContextOpen: boolean;
  onContext(): void;
}

/** The title of the conversation, and what can be done with it as a whole. */
export function SessionBar({ session, isContextOpen, onContext }: Props) {
  const { client } = useConnection();
  const { sessionId, endedAt } = session;
  const [isRenaming, setIsRenaming] = useState(false);
  const [isSure, setIsSure] = useState(false);
  const action = useAction();
  const end = () => action.run(() => carryOut(client, EndSession, { input: { sessionId } }));
  const reopen = () => action.run(() => carryOut(client, ReopenSession, { input: { sessionId } }));
  async function remove() {
    if (await action.run(() => carryOut(client, DeleteSession, { input: { sessionId } }))) go({ session: null });
  }
  async function rename(title: string) {
    if (title === (session.title ?? "")) return setIsRenaming(false);
    const done = await action.run(() =>
      carryOut(client, UpdateSession, { input: { sessionId, title: title || null } }),
    );
    if (done) setIsRenaming(false);
  }

  return (
    <div className="session-bar">
      {isRenaming ? (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void rename(String(new FormData(event.currentTarget).get("title")).trim());
          }}
        >
          <input
            name="title"
            aria-label="Title"
            autoFocus
            maxLength={200}
            defaultValue={session.title ?? ""}
            placeholder={titleOf(session)}
            onKeyDown={(event) => event.key === "Escape" && setIsRenaming(false)}
          />
          <button className="primary" disabled={action.isRunning}>
            Save
          </button>
        </form>
      ) : (
        <>
          <h1 title={titleOf(session)}>{titleOf(session)}</h1>
          <button type="button" className="plain" aria-expanded={isContextOpen} onClick={onContext}>
            <Icon name="context" />
            <span className="label">Context</span>
          </button>
          <button type="button" className="plain" onClick={() => setIsRenaming(true)}>
            <Icon name="edit" />
            <span className="label">Rename</span>
          </button>
          <button type="button" className="plain" disabled={action.isRunning} onClick={endedAt ? reopen : end}>
            <Icon name={endedAt ? "reopen" : "end"} />
            <span className="label">{endedAt ? "Reopen" : "End"}</span>
          </button>
          {isSure ? (
            <button
              type="button"
              className="danger"
              autoFocus
              disabled={action.isRunning}
              onClick={remove}
              onBlur={() => setIsSure(false)}
            >
              Really delete
            </button>
          ) : (
            <button type="button" className="plain" onClick={() => setIsSure(true)}>
              <Icon name="trash" />
              <span className="label">Delete</span>
            </button>
          )}
        </>
      )}
      {action.problem && <p role="alert">{action.problem}</p>}
    </div>
  );
}
