// The scroll position of a conversation: it follows the end while the reader is there, and otherwise stays with what is
// being read, whatever is added above or below.
import { type RefObject, useLayoutEffect, useRef, useState } from "react";

const NEAR_END = 60;
const NEAR_START = 800;

export function useKeptScroll(log: RefObject<HTMLElement | null>, newest: string | undefined, loadOlder: () => void) {
  const isAtEnd = useRef(true);
  const anchor = useRef<{ key: string; top: number } | null>(null);
  const seen = useRef(newest);
  const [hasNews, setHasNews] = useState(false);

  /** Remembers the first article in sight, and where it stands. */
  function remember() {
    const element = log.current;
    if (!element) return;
    isAtEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END;
    const top = element.getBoundingClientRect().top;
    const first = [...element.querySelectorAll<HTMLElement>("article")].find(
      (article) => article.getBoundingClientRect().bottom > top,
    );
    anchor.current = first?.dataset.key
      ? { key: first.dataset.key, top: first.getBoundingClientRect().top - top }
      : null;
  }

  useLayoutEffect(() => {
    const element = log.current;
    if (!element) return;
    if (isAtEnd.current) {
      element.scrollTop = element.scrollHeight;
    } else if (anchor.current) {
      const article = element.querySelector(`[data-key="${CSS.escape(anchor.current.key)}"]`);
      const moved =
        article && article.getBoundingClientRect().top - element.getBoundingClientRect().top - anchor.current.top;
      if (moved) element.scrollTop += moved;
    }
    if (newest !== seen.current) {
      seen.current = newest;
      setHasNews(!isAtEnd.current);
    }
    remember();
    // A page that does not fill the screen can't be scrolled.
    if (newest && element.scrollTop < NEAR_START) loadOlder();
  });

  // What is around it may change its height: a growing composer, a keyboard on a phone.
  useLayoutEffect(() => {
    const element = log.current;
    if (!element) return;
    const observer = new ResizeObserver(() => {
      if (isAtEnd.current) element.scrollTop = element.scrollHeight;
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  return {
    hasNews,
    onScroll() {
      remember();
      if (isAtEnd.current) setHasNews(false);
      if (log.current && log.current.scrollTop < NEAR_START) loadOlder();
    },
    toEnd() {
      isAtEnd.current = true;
      setHasNews(false);
      if (log.current) log.current.scrollTop = log.current.scrollHeight;
    },
    /** Shows the message with this global id in the middle. */
    to(id: string) {
      isAtEnd.current = false;
      log.current?.querySelector(`[data-id="${CSS.escape(id)}"]`)?.scrollIntoView({ block: "center" });
      remember();
    },
  };
}
