// Subscriptions over one WebSocket that comes back by itself: docs/live.md explains what it goes by.
import { createClient, type FormattedExecutionResult, type SubscribePayload } from "graphql-ws";
import { passes } from "./errors";
import type { TokenSource } from "./token";

export interface Sink {
  next(result: FormattedExecutionResult<Record<string, unknown>, unknown>): void;
  error(reason: unknown): void;
  complete(): void;
}

export interface LiveStatus {
  isConnected: boolean;
  /** How often events began to come. Every time after the first, changes may have been missed: fetch lists again. */
  connections: number;
}

export type Live = ReturnType<typeof createLive>;

export function createLive(endpoint: string, token: TokenSource) {
  let status: LiveStatus = { isConnected: false, connections: 0 };
  let isRefused = false;
  let overdue: ReturnType<typeof setTimeout>;
  const listeners = new Set<() => void>();

  function report(change: Partial<LiveStatus>) {
    status = { ...status, ...change };
    for (const listener of listeners) listener();
  }

  const client = createClient({
    url: endpoint.replace(/^http/, "ws"),
    async connectionParams() {
      const renew = isRefused;
      isRefused = false;
      return { authorization: `Bearer ${await token(renew)}` };
    },
    keepAlive: 10_000,
    shouldRetry: () => true,
    retryAttempts: Infinity,
    // By chance, so that not all pages come back at once. A page with many readers waits up to half a minute.
    retryWait: (retries) => pause(Math.min(250 * 2 ** retries, 3_000) * (0.5 + Math.random() / 2)),
    on: {
      connected: () => report({ isConnected: true, connections: status.connections + 1 }),
      closed() {
        clearTimeout(overdue);
        report({ isConnected: false });
      },
      // A connection on which nothing is answered is dead, although nobody has closed it.
      ping(isReceived) {
        if (!isReceived) overdue = setTimeout(() => client.terminate(), 5_000);
      },
      pong: () => clearTimeout(overdue),
    },
  });

  function subscribe(request: SubscribePayload, sink: Sink): () => void {
    const variables: Record<string, unknown> = { ...request.variables };
    let stop = () => {};
    let timer: ReturnType<typeof setTimeout>;

    function start() {
      let hasPassed = false;
      // graphql-ws sends the variables as they are at the time, whenever it connects.
      stop = client.subscribe(
        { ...request, variables },
        {
          next(result) {
            hasPassed = allPass(result.errors);
            if (hasPassed) return;
            const added = result.data?.messageAdded as { cursor: string } | undefined;
            if (added) Object.assign(variables, { after: added.cursor, afterSequence: undefined });
            sink.next(result);
          },
          error(reason) {
            // What is not a list of GraphQL's errors is the end of a connection, after which graphql-ws does not
            // connect again: there was no token, or it was refused.
            isRefused = !Array.isArray(reason);
            if (isRefused || allPass(reason)) startAgain();
            else sink.error(new Error((reason as { message: string }[])[0]?.message));
          },
          complete() {
            if (hasPassed) startAgain();
            else sink.complete();
          },
        },
      );
    }

    function startAgain() {
      timer = setTimeout(() => {
        start();
        // What has happened meanwhile was missed, as with a lost connection.
        report({ connections: status.connections + 1 });
      }, 1_000);
    }

    start();
    return () => {
      clearTimeout(timer);
      stop();
    };
  }

  return {
    subscribe,
    getStatus: () => status,
    onStatus(listener: () => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    dispose: () => client.dispose(),
  };
}

function allPass(errors: unknown): boolean {
  return Array.isArray(errors) && errors.length > 0 && errors.every(({ extensions }) => passes(extensions?.code));
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
