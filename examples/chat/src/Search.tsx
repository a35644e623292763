import { Fragment, useEffect, useRef, useState } from "react";
import { failureOf, useConnection } from "./client";
import { Search as SearchQuery } from "./documents";
import type { SearchQuery as Data } from "./generated/graphql";
import { Icon } from "./Icon";
import { go } from "./place";
import { titleOf } from "./Sessions";
import { shortTime } from "./time";

type Edge = Data["search"]["edges"][number];

/** What has to be known of a message to show it in its place: a result itself, or the source of a memory. */
interface FoundMessage {
  id: string;
  session?: { sessionId: string } | null;
}

interface Found {
  query: string;
  edges: Edge[];
  next: string | null;
  problem: string | null;
}

export function Search() {
  const { client } = useConnection();
  const [text, setText] = useState("");
  const [found, setFound] = useState<Found | null>(null);
  const [isOpen, setIsOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const query = text.trim();

  async function look(after: string | null, before: Edge[]) {
    const { data, error } = await client
      .query(SearchQuery, { query, first: 10, after }, { requestPolicy: "network-only" })
      .toPromise();
    const page = data?.search;
    const next = page?.pageInfo.hasNextPage ? (page.pageInfo.endCursor ?? null) : null;
    return {
      query,
      edges: [...before, ...(page?.edges ?? [])],
      next,
      problem: error ? failureOf(error).message : null,
    };
  }

  useEffect(() => {
    if (!query) return setFound(null);
    let isCurrent = true;
    // Until the typing pauses.
    const timer = setTimeout(async () => {
      const page = await look(null, []);
      if (isCurrent) setFound(page);
    }, 200);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [query]);

  /** The arrows move between the field and the results. */
  function move(by: number) {
    const stops = [...(box.current?.querySelectorAll<HTMLElement>("input, ol button:enabled") ?? [])];
    stops[Math.max(0, stops.indexOf(document.activeElement as HTMLElement) + by)]?.focus();
  }

  function open(message: FoundMessage) {
    setIsOpen(false);
    go({ session: message.session?.sessionId ?? null, message: message.id });
  }

  return (
    <div
      className="search"
      ref={box}
      onBlur={({ relatedTarget }) => !box.current?.contains(relatedTarget) && setIsOpen(false)}
      onKeyDown={(event) => {
        if (event.key === "Escape") setIsOpen(false);
        if (event.key === "ArrowDown" || event.key === "ArrowUp") {
          event.preventDefault();
          move(event.key === "ArrowDown" ? 1 : -1);
        }
      }}
    >
      <Icon name="search" />
      <input
        type="search"
        aria-label="Search"
        placeholder="Search"
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setIsOpen(true);
        }}
        onFocus={() => setIsOpen(true)}
      />
      {isOpen && query && (
        <section className="results" aria-label="Results" tabIndex={-1}>
          {found?.query !== query && <p className="hint">Searching…</p>}
          {found?.problem && <p role="alert">{found.problem}</p>}
          {found?.query === query && !found.problem && found.edges.length === 0 && (
            <p className="hint">Nothing found. Other words may help.</p>
          )}
          <ol>
            {found?.edges.map((edge) => (
              <li key={edge.cursor}>
                <Result edge={edge} onOpen={open} />
              </li>
            ))}
          </ol>
          {found?.next && (
            <button type="button" className="more" onClick={async () => setFound(await look(found.next, found.edges))}>
              Show more
            </button>
          )}
        </section>
      )}
    </div>
  );
}

function Result({ edge: { node, highlight }, onOpen }: { edge: Edge; onOpen(message: FoundMessage): void }) {
  if (node.__typename === "Document") return null;
  const from = node.__typename === "Message" ? node : node.sources.nodes[0];
  const message = from?.__typename === "Message" ? from : null;
  const where = node.__typename === "Memory" ? "Memory" : node.session ? titleOf(node.session) : "Session";
  return (
    <button type="button" className="result" disabled={!message} onClick={() => message && onOpen(message)}>
      <span className="detail">
        {where} · <time dateTime={node.createdAt}>{shortTime(node.createdAt)}</time>
      </span>
      <span>{highlight ? <Highlight html={highlight} /> : node.content.slice(0, 300)}</span>
    </button>
  );
}

/** The server's HTML has escaped text and <mark> only. It is read as such, and nothing else of it would be shown. */
function Highlight({ html }: { html: string }) {
  const nodes = [...new DOMParser().parseFromString(html, "text/html").body.childNodes];
  return nodes.map((node, index) => (
    <Fragment key={index}>{node.nodeName === "MARK" ? <mark>{node.textContent}</mark> : node.textContent}</Fragment>
  ));
}
