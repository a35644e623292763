// Messages that were sent and are not stored yet. Each has its messageId from the start: it is the key of the
// optimistic message on the page, and makes it safe to send the message again when the answer was lost.
import type { Client } from "@urql/core";
import { carryOut, Failure } from "./client";
import { AddMessages } from "./documents";
import type { TokenSource } from "./token";

export interface Unsent {
  messageId: string;
  sessionId: string;
  content: string;
  writtenAt: string;
  /**
   * `waiting`: it did not get through, and is sent again by itself. `refused`: it stays until the user decides.
   * `stored`: it stays until the list of messages shows it, or for some seconds, so that it never vanishes in between.
   */
  state: "sending" | "waiting" | "refused" | "stored";
  reason?: string;
}

/** What the assistant does in a session: it writes, or it has failed and may be asked again. */
export interface Asked {
  messageId: string;
  problem: string | null;
}

export interface OutboxState {
  unsent: readonly Unsent[];
  asked: Readonly<Record<string, Asked>>;
}

export type Outbox = ReturnType<typeof createOutbox>;

export function createOutbox(client: Client, token: TokenSource, user: string) {
  // Of this window alone: two windows would otherwise send each other's messages. It survives a reload.
  const place = `unsent of ${user}`;
  const kept: Unsent[] = JSON.parse(sessionStorage.getItem(place) ?? "[]");
  let state: OutboxState = { unsent: kept.filter((each) => each.state !== "stored"), asked: {} };
  let isFlushing = false;
  let isDisposed = false;
  let timer: ReturnType<typeof setTimeout>;
  let attempts = 0;
  const listeners = new Set<() => void>();

  function set(change: Partial<OutboxState>) {
    state = { ...state, ...change };
    sessionStorage.setItem(place, JSON.stringify(state.unsent));
    for (const listener of listeners) listener();
  }

  function change(messageId: string, fields: Partial<Unsent>) {
    set({ unsent: state.unsent.map((each) => (each.messageId === messageId ? { ...each, ...fields } : each)) });
  }

  function remove(messageId: string): Unsent | undefined {
    const removed = state.unsent.find((each) => each.messageId === messageId);
    set({ unsent: state.unsent.filter((each) => each !== removed) });
    return removed;
  }

  /** Forgets stored messages that the list shows. */
  function forget(shown: Set<string>) {
    const unsent = state.unsent.filter((each) => each.state !== "stored" || !shown.has(each.messageId));
    if (unsent.length < state.unsent.length) set({ unsent });
  }

  function send(sessionId: string, content: string) {
    const message = { messageId: crypto.randomUUID(), sessionId, content, writtenAt: new Date().toISOString() };
    set({ unsent: [...state.unsent, { ...message, state: "sending" }] });
    void flush();
  }

  /** Sends what waits, in order: a message never overtakes the one before it. */
  async function flush() {
    clearTimeout(timer);
    if (isFlushing || isDisposed) return;
    isFlushing = true;
    for (let next; (next = state.unsent.find(({ state }) => state === "sending" || state === "waiting"));) {
      if (!(await deliver(next))) {
        if (!isDisposed) timer = setTimeout(flush, Math.min(500 * 2 ** attempts++, 5_000));
        break;
      }
      attempts = 0;
    }
    isFlushing = false;
  }

  /** False if the message has to be sent again. */
  async function deliver({ messageId, sessionId, content }: Unsent): Promise<boolean> {
    try {
      const messages = [{ messageId, content, role: "USER" as const }];
      await carryOut(client, AddMessages, { input: { sessionId, messages } });
    } catch (error) {
      const { message, mayRetry } = error as Failure;
      change(messageId, { state: mayRetry ? "waiting" : "refused", reason: message });
      return !mayRetry;
    }
    change(messageId, { state: "stored" });
    setTimeout(() => remove(messageId), 10_000);
    void ask(sessionId, messageId);
    return true;
  }

  /** Has the back end's assistant answer a message. It answers each at most once, however often it is asked. */
  async function ask(sessionId: string, messageId: string) {
    const tell = (problem: string | null) => set({ asked: { ...state.asked, [sessionId]: { messageId, problem } } });
    tell(null);
    try {
      const response = await fetch("/assistant", {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${await token()}` },
        body: JSON.stringify({ sessionId, messageId }),
      });
      if (!response.ok) throw new Error((await response.json()).error);
      if (state.asked[sessionId]?.messageId !== messageId) return;
      const { [sessionId]: _, ...others } = state.asked;
      set({ asked: others });
    } catch (error) {
      tell(error instanceof TypeError ? "It can't be reached." : (error as Error).message);
    }
  }

  addEventListener("online", flush);
  void flush();
  return {
    send,
    flush,
    ask,
    remove,
    forget,
    retry(messageId: string) {
      change(messageId, { state: "sending" });
      void flush();
    },
    dispose() {
      isDisposed = true;
      clearTimeout(timer);
      removeEventListener("online", flush);
    },
    getState: () => state,
    subscribe(listener: () => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
