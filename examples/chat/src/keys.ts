import type { KeyboardEvent } from "react";

/** Escape closes a panel, unless a field in it takes the key for itself. */
export const closeOnEscape = (close: () => void) => (event: KeyboardEvent) => {
  if (event.key === "Escape" && !(event.target instanceof HTMLTextAreaElement)) close();
};
