// What the page speaks to RecallQL with: queries and mutations over HTTP, subscriptions over a WebSocket.
import {
  type AnyVariables,
  Client,
  type CombinedError,
  fetchExchange,
  subscriptionExchange,
  type TypedDocumentNode,
} from "@urql/core";
import { createContext, useContext, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { createCache } from "./cache";
import { passes } from "./errors";
import { createLive, type Live } from "./live";
import { createOutbox, type Outbox } from "./outbox";
import { createTokenSource, TokenError, type TokenSource } from "./token";

export interface Settings {
  /** The URL of RecallQL's /graphql. */
  endpoint: string;
  /** The name of the model that plays the assistant; null for the script. */
  model: string | null;
}

export interface Connection {
  user: string;
  settings: Settings;
  token: TokenSource;
  client: Client;
  live: Live;
  outbox: Outbox;
  dispose(): void;
}

export function connect(settings: Settings, user: string): Connection {
  const token = createTokenSource(user);
  const live = createLive(settings.endpoint, token);

  async function authorizedFetch(url: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
    const send = async (renew: boolean) => {
      const headers = { ...(init.headers as Record<string, string>), authorization: `Bearer ${await token(renew)}` };
      const deadline = AbortSignal.timeout(30_000);
      return fetch(url, {
        ...init,
        headers,
        signal: init.signal ? AbortSignal.any([init.signal, deadline]) : deadline,
      });
    };
    const response = await send(false);
    return response.status === 401 ? send(true) : response;
  }

  const client = new Client({
    url: settings.endpoint,
    preferGetMethod: false,
    fetch: authorizedFetch,
    exchanges: [
      createCache(),
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query, variables }) => ({
          subscribe: (sink) => ({ unsubscribe: live.subscribe({ query: query ?? "", variables }, sink as never) }),
        }),
      }),
    ],
  });
  const outbox = createOutbox(client, token, user);
  // When the server is back, what waits need not wait for its next attempt.
  live.onStatus(() => live.getStatus().isConnected && outbox.flush());
  const dispose = () => {
    outbox.dispose();
    void live.dispose();
  };
  return { user, settings, token, client, live, outbox, dispose };
}

/** A request that was refused, or that never arrived; `mayRetry` says which. */
export class Failure extends Error {
  constructor(
    message: string,
    readonly code: string,
    readonly mayRetry: boolean,
  ) {
    super(message);
  }
}

export function failureOf(error: CombinedError): Failure {
  const first = error.graphQLErrors[0];
  const code = String(first?.extensions.code ?? "NETWORK");
  if (first) return new Failure(first.message, code, passes(code));
  const reason = error.networkError;
  return new Failure(reason instanceof TokenError ? reason.message : "The server can't be reached.", code, true);
}

interface Payload {
  userErrors: { code: string; message: string }[];
}

/** The payload of a mutation. It throws a `Failure` for errors of both kinds: GraphQL's, and `userErrors`. */
export async function carryOut<Data extends object, Variables extends AnyVariables>(
  client: Client,
  mutation: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<Data> {
  const { data, error } = await client.mutation(mutation, variables).toPromise();
  if (error) throw failureOf(error);
  for (const payload of Object.values(data ?? {}) as Payload[]) {
    const refused = payload?.userErrors?.[0];
    if (refused) throw new Failure(refused.message, refused.code, false);
  }
  return data as Data;
}

const ConnectionContext = createContext<Connection | null>(null);
export const ConnectionProvider = ConnectionContext.Provider;

export function useConnection(): Connection {
  const connection = useContext(ConnectionContext);
  if (!connection) throw new Error("There is no connection here.");
  return connection;
}

export function useLiveStatus() {
  const { live } = useConnection();
  return useSyncExternalStore(live.onStatus, live.getStatus);
}

/** Calls back after each new connection, and says if it is the first: after another one events may be missing. */
export function useAfterConnect(callback: (isFirst: boolean) => void): void {
  const { connections } = useLiveStatus();
  const seen = useRef(connections);
  const latest = useRef(callback);
  latest.current = callback;
  useEffect(() => {
    if (connections > seen.current) latest.current(connections === 1);
    seen.current = connections;
  }, [connections]);
}

/** A mutation that a button starts: whether it runs, and why it has failed. */
export function useAction() {
  const [state, setState] = useState<{ isRunning: boolean; problem: string | null }>({
    isRunning: false,
    problem: null,
  });
  async function run(action: () => Promise<unknown>): Promise<boolean> {
    setState({ isRunning: true, problem: null });
    try {
      await action();
      setState({ isRunning: false, problem: null });
      return true;
    } catch (error) {
      setState({ isRunning: false, problem: (error as Error).message });
      return false;
    }
  }
  return { ...state, run, clear: () => setState({ isRunning: false, problem: null }) };
}
