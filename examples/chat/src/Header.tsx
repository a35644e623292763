import { useEffect, useState } from "react";
import { carryOut, useAction, useConnection, useLiveStatus } from "./client";
import { CreateSession } from "./documents";
import { Icon } from "./Icon";
import type { Panel } from "./App";
import { go } from "./place";
import { Search } from "./Search";

export function Header({ panel, onToggle }: { panel: Panel | null; onToggle(panel: Panel): void }) {
  const { client, user } = useConnection();
  const creation = useAction();

  // It stands above the page, and so not for ever.
  useEffect(() => {
    if (!creation.problem) return;
    const timer = setTimeout(creation.clear, 8_000);
    return () => clearTimeout(timer);
  }, [creation.problem]);

  // The page makes the id, so it can go there at once.
  const create = () =>
    creation.run(async () => {
      const sessionId = crypto.randomUUID();
      await carryOut(client, CreateSession, { input: { sessionId } });
      go({ session: sessionId });
    });

  return (
    <header className="header">
      <button
        type="button"
        className="plain only-narrow"
        aria-label="Show sessions"
        aria-expanded={panel === "sessions"}
        onClick={() => onToggle("sessions")}
      >
        <Icon name="menu" />
      </button>
      <span className="brand">
        <Icon name="logo" />
        RecallQL chat
      </span>
      <Search />
      <LiveStatus />
      <button
        type="button"
        className="primary"
        disabled={creation.isRunning}
        title={creation.problem ?? undefined}
        onClick={create}
      >
        <Icon name="plus" />
        <span className="label">New session</span>
      </button>
      <button
        type="button"
        className="plain"
        aria-expanded={panel === "memories"}
        aria-controls="memories"
        onClick={() => onToggle("memories")}
      >
        <Icon name="memory" />
        <span className="label">Memories</span>
      </button>
      <button
        type="button"
        className="plain account"
        title="Sign out"
        aria-label={`Sign out ${user}`}
        onClick={() => go({ user: null, session: null })}
      >
        {user.slice(0, 1).toUpperCase()}
      </button>
      {creation.problem && (
        <p className="flash" role="alert">
          No session was made: {creation.problem}
        </p>
      )}
    </header>
  );
}

/** Says that the connection is lost, once it has been for a moment: a renewed token interrupts it briefly. */
function LiveStatus() {
  const { isConnected, connections } = useLiveStatus();
  const [isLost, setIsLost] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setIsLost(!isConnected), isConnected ? 0 : 1_000);
    return () => clearTimeout(timer);
  }, [isConnected]);
  return (
    <span className={`live ${isLost ? "lost" : ""}`} role="status">
      {isLost ? connections ? "Offline: reconnecting…" : "Connecting…" : <span className="label">Live</span>}
    </span>
  );
}
