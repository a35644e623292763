import { useEffect, useState } from "react";
import { type Connection, connect, ConnectionProvider, type Settings } from "./client";
import { ContextView } from "./ContextView";
import { Conversation } from "./Conversation";
import { Header } from "./Header";
import { Memories } from "./Memories";
import { Notice } from "./Notice";
import { go, usePlace } from "./place";
import { Sessions } from "./Sessions";
import { SignIn } from "./SignIn";

/** The panels beside the conversation. On a narrow screen one covers it, and none is open at first. */
export type Panel = "sessions" | "memories" | "context";

const WIDE = "(min-width: 70rem)";

export function App() {
  const { user } = usePlace();
  const [settings, setSettings] = useState<Settings | null>(null);
  const [problem, setProblem] = useState(false);
  const [connection, setConnection] = useState<Connection | null>(null);

  async function load() {
    setProblem(false);
    try {
      setSettings(await (await fetch("/settings")).json());
    } catch {
      setProblem(true);
    }
  }
  useEffect(() => void load(), []);

  useEffect(() => {
    if (!user || !settings) return;
    const opened = connect(settings, user);
    setConnection(opened);
    return () => {
      setConnection(null);
      opened.dispose();
    };
  }, [user, settings]);

  if (!user) return <SignIn onSignIn={(name) => go({ user: name, session: null })} />;
  if (problem) {
    return (
      <main className="lonely">
        <Notice kind="problem" action={{ label: "Try again", run: load }}>
          The page's back end can't be reached.
        </Notice>
      </main>
    );
  }
  if (connection?.user !== user) return <main className="lonely" aria-busy="true" />;
  return (
    <ConnectionProvider key={user} value={connection}>
      <Chat />
    </ConnectionProvider>
  );
}

function Chat() {
  const { session, message } = usePlace();
  // Who has chosen no session reads the newest one. What is typed belongs to a session, so the composer waits for that;
  // if the list is slow or fails, a new session it is.
  const [isChosen, setIsChosen] = useState(!!session);
  useEffect(() => {
    const timer = setTimeout(() => setIsChosen(true), 3_000);
    return () => clearTimeout(timer);
  }, []);
  // An id for the session that begins with the first message, if none was chosen.
  const [fresh, setFresh] = useState(() => crypto.randomUUID());
  const [panel, setPanel] = useState<Panel | null>(() => (matchMedia(WIDE).matches ? "memories" : null));
  const toggle = (which: Panel) => setPanel((open) => (open === which ? null : which));

  // A narrow screen shows one thing at a time: what was chosen in a panel takes its place.
  useEffect(() => {
    if (!matchMedia(WIDE).matches) setPanel(null);
  }, [session, message]);
  // The id was used: the next conversation needs another one.
  useEffect(() => {
    if (session === fresh) setFresh(crypto.randomUUID());
  }, [session, fresh]);

  return (
    <div className="chat" data-panel={panel ?? "none"}>
      <Header panel={panel} onToggle={toggle} />
      <Sessions
        current={session}
        onListed={(newest) => {
          if (!isChosen && newest) go({ session: newest }, "replace");
          setIsChosen(true);
        }}
      />
      {isChosen ? (
        <Conversation
          key={session ?? fresh}
          sessionId={session ?? fresh}
          isNew={!session}
          isContextOpen={panel === "context"}
          onContext={() => toggle("context")}
        />
      ) : (
        <main className="conversation" aria-busy="true" />
      )}
      {panel === "context" && session ? (
        <ContextView sessionId={session} onClose={() => setPanel(null)} />
      ) : (
        <Memories isOpen={panel === "memories"} onClose={() => setPanel(null)} />
      )}
    </div>
  );
}
