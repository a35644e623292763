import { memo, useState } from "react";
import { carryOut, useAction, useConnection } from "./client";
import type { Turn } from "./conversation";
import { DeleteMessage, UpdateMessage } from "./documents";
import type { MessageItemFragment } from "./generated/graphql";
import { Icon } from "./Icon";
import { Markdown } from "./Markdown";
import type { Unsent } from "./outbox";
import { clockTime } from "./time";

const SPEAKERS = {
  USER: "You",
  ASSISTANT: "Assistant",
  TOOL: "Tool",
  FUNCTION: "Function",
  SYSTEM: "System",
  DEVELOPER: "Developer",
};

interface Props {
  turn: Turn;
  isMarked: boolean;
  /** Gives a text that was not stored back to the composer. */
  onTakeBack(text: string): void;
}

export const Message = memo(({ turn: { key, stored, unsent }, isMarked, onTakeBack }: Props) => {
  const role = stored?.role ?? "USER";
  const content = stored?.content ?? unsent?.content ?? "";
  const isOnItsWay = !!unsent && unsent.state !== "stored";
  const [isEditing, setIsEditing] = useState(false);
  return (
    <article
      className={["message", role.toLowerCase(), isOnItsWay && "unsent", isMarked && "marked"]
        .filter(Boolean)
        .join(" ")}
      data-key={key}
      data-id={stored?.id}
      aria-busy={unsent?.state === "sending" || undefined}
    >
      <header>
        <span className="speaker">{stored?.name ?? SPEAKERS[role]}</span>
        <time dateTime={stored?.createdAt ?? unsent?.writtenAt}>
          {clockTime(stored?.createdAt ?? unsent?.writtenAt ?? "")}
        </time>
        {stored && stored.version > 1 && <span>edited</span>}
        {unsent?.state === "sending" && <span>sending…</span>}
        {stored && role === "USER" && !isEditing && <Actions message={stored} onEdit={() => setIsEditing(true)} />}
      </header>
      {isEditing && stored ? (
        <Editor message={stored} onDone={() => setIsEditing(false)} />
      ) : role === "TOOL" || role === "FUNCTION" ? (
        <Folded summary={`Result of ${stored?.name ?? "the tool"}`} value={content} />
      ) : (
        content && (
          <div className="body">
            <Markdown text={content} />
          </div>
        )
      )}
      {callsOf(stored).map(({ name, value }, index) => (
        <Folded key={index} summary={`Called ${name}`} value={value} />
      ))}
      {isOnItsWay && <UnsentState unsent={unsent} onTakeBack={onTakeBack} />}
    </article>
  );
});

function Folded({ summary, value }: { summary: string; value: string }) {
  return (
    <details className="folded">
      <summary>
        <Icon name="tool" />
        {summary}
      </summary>
      <pre tabIndex={0}>{value}</pre>
    </details>
  );
}

/** Tool calls in the form of OpenAI, which is that of most: whatever else there is, is shown as it is. */
function callsOf(message: MessageItemFragment | undefined): { name: string; value: string }[] {
  const calls = Array.isArray(message?.toolCalls) ? message.toolCalls : message?.toolCalls ? [message.toolCalls] : [];
  return calls.map((call) => {
    const named = call?.function ?? call;
    const value = named?.arguments ?? named?.args ?? call;
    return {
      name: String(named?.name ?? "a tool"),
      value: typeof value === "string" ? value : JSON.stringify(value, null, 2),
    };
  });
}

function UnsentState({ unsent, onTakeBack }: { unsent: Unsent; onTakeBack(text: string): void }) {
  const { outbox } = useConnection();
  if (unsent.state === "sending" || unsent.state === "stored") return null;
  const takeBack = () => onTakeBack(outbox.remove(unsent.messageId)?.content ?? "");
  return (
    <footer role="status">
      <span>
        {unsent.state === "waiting"
          ? `Not sent yet: ${unsent.reason} It is tried again by itself.`
          : `Refused: ${unsent.reason}`}
      </span>
      <button type="button" onClick={() => outbox.retry(unsent.messageId)}>
        {unsent.state === "waiting" ? "Send now" : "Try again"}
      </button>
      <button type="button" onClick={takeBack}>
        Take back
      </button>
    </footer>
  );
}

function Actions({ message, onEdit }: { message: MessageItemFragment; onEdit(): void }) {
  const { client } = useConnection();
  const deletion = useAction();
  const [isSure, setIsSure] = useState(false);
  const remove = () => deletion.run(() => carryOut(client, DeleteMessage, { input: { id: message.id } }));
  return (
    <div className="actions">
      <button type="button" title="Edit" aria-label="Edit" onClick={onEdit}>
        <Icon name="edit" />
      </button>
      {isSure ? (
        <button
          type="button"
          className="danger"
          autoFocus
          disabled={deletion.isRunning}
          onClick={remove}
          onBlur={() => setIsSure(false)}
        >
          Delete for good
        </button>
      ) : (
        <button type="button" title="Delete" aria-label="Delete" onClick={() => setIsSure(true)}>
          <Icon name="trash" />
        </button>
      )}
      {deletion.problem && <span role="alert">{deletion.problem}</span>}
    </div>
  );
}

function Editor({ message, onDone }: { message: MessageItemFragment; onDone(): void }) {
  const { client } = useConnection();
  const [text, setText] = useState(message.content);
  const saving = useAction();
  async function save() {
    if (text.trim() === message.content) return onDone();
    // With the version that was read, an edit in another window is not overwritten unseen.
    const input = { id: message.id, content: text.trim(), expectedVersion: message.version };
    if (await saving.run(() => carryOut(client, UpdateMessage, { input }))) onDone();
  }
  return (
    <form
      className="editor"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <textarea
        aria-label="Edited text"
        autoFocus
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") onDone();
          if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
            event.preventDefault();
            void save();
          }
        }}
      />
      {saving.problem && <p role="alert">{saving.problem}</p>}
      <div>
        <button type="button" onClick={onDone}>
          Cancel
        </button>
        <button className="primary" disabled={saving.isRunning || !text.trim()}>
          Save
        </button>
      </div>
    </form>
  );
}
