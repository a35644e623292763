// Where the reader is stands in the URL, so that a reload, a link and the back button lead there.
import { useSyncExternalStore } from "react";

export interface Place {
  user: string | null;
  session: string | null;
  /** The global id of a message to show in its place. */
  message: string | null;
}

export function usePlace(): Place {
  const search = useSyncExternalStore(listen, () => location.search);
  const read = new URLSearchParams(search);
  return { user: read.get("user") || null, session: read.get("session") || null, message: read.get("message") || null };
}

export function go(change: Partial<Place>, how: "push" | "replace" = "push"): void {
  const url = new URL(location.href);
  // A message belongs to the session that it was opened in.
  for (const [name, value] of Object.entries({ message: null, ...change })) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  history[how === "push" ? "pushState" : "replaceState"](null, "", url);
  dispatchEvent(new PopStateEvent("popstate"));
}

function listen(changed: () => void): () => void {
  addEventListener("popstate", changed);
  return () => removeEventListener("popstate", changed);
}
