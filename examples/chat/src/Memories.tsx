import { useEffect, useState } from "react";
import { carryOut, useAction, useConnection } from "./client";
import { DeleteMemory, Memories as MemoriesQuery, MemoryChanged, UpdateMemory } from "./documents";
import type { MemoriesQuery as Data, MemoryItemFragment } from "./generated/graphql";
import { Icon } from "./Icon";
import { closeOnEscape } from "./keys";
import { Notice } from "./Notice";
import { usePages } from "./pages";
import { go } from "./place";
import { date } from "./time";

const PAGE = 20;
const KINDS = { FACT: "Fact", PREFERENCE: "Preference", EVENT: "Event", SUMMARY: "Summary" };
const METHODS = { DECLARED: "declared", RULE: "by a rule", EXTRACTIVE: "quoted", MODEL: "by a model" };

export function Memories({ isOpen, onClose }: { isOpen: boolean; onClose(): void }) {
  const { client, user } = useConnection();
  const [history, setHistory] = useState(false);
  const pages = usePages(`${user} ${history}`, {
    query: MemoriesQuery,
    variablesAt: (after) => ({ first: PAGE, after, filter: history ? { history } : null }),
    pageOf: ({ viewer }: Data) =>
      viewer.user && {
        items: viewer.user.memories.edges.map(({ node }) => node),
        next: viewer.user.memories.pageInfo.hasNextPage ? (viewer.user.memories.pageInfo.endCursor ?? null) : null,
      },
  });

  // A new memory may end another one, so the list is read again; several events in a moment read it once.
  const { refetch } = pages;
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    const changes = client.subscription(MemoryChanged, {}).subscribe(() => {
      clearTimeout(timer);
      timer = setTimeout(refetch, 50);
    });
    return () => {
      clearTimeout(timer);
      changes.unsubscribe();
    };
  }, [client]);

  const memories = [...new Map(pages.items.map((memory) => [memory.id, memory])).values()];
  return (
    <section
      className="panel memories"
      id="memories"
      aria-label="Memories"
      hidden={!isOpen}
      onKeyDown={closeOnEscape(onClose)}
    >
      <header>
        <h2>Memories</h2>
        <label>
          <input type="checkbox" checked={history} onChange={(event) => setHistory(event.target.checked)} />
          Past ones
        </label>
        <button type="button" className="plain" aria-label="Close memories" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      {pages.failure && (
        <Notice kind="problem" action={{ label: "Try again", run: pages.refetch }}>
          {pages.failure.message}
        </Notice>
      )}
      {pages.data && memories.length === 0 && <p className="hint">Nothing yet. Try “I live in Turin.”</p>}
      <ul>
        {memories.map((memory) => (
          <Memory key={memory.id} memory={memory} onChanged={refetch} />
        ))}
      </ul>
      {pages.hasMore && (
        <button type="button" className="more" disabled={pages.isLoading} onClick={pages.loadMore}>
          Show more
        </button>
      )}
    </section>
  );
}

function Memory({ memory, onChanged }: { memory: MemoryItemFragment; onChanged(): void }) {
  const { client } = useConnection();
  const [edited, setEdited] = useState<string | null>(null);
  const action = useAction();
  const { id, version, content } = memory;

  async function save() {
    const input = { id, content: edited?.trim() ?? content, expectedVersion: version };
    if (await action.run(() => carryOut(client, UpdateMemory, { input }))) setEdited(null);
  }
  async function forget() {
    if (await action.run(() => carryOut(client, DeleteMemory, { input: { id } }))) onChanged();
  }

  return (
    <li className={memory.supersededBy ? "past" : ""}>
      <span className="detail">
        {KINDS[memory.kind]} · {METHODS[memory.method]}
        {memory.about && ` · about ${memory.about}`}
      </span>
      {edited === null ? (
        <p>{content}</p>
      ) : (
        <form
          className="editor"
          onSubmit={(event) => {
            event.preventDefault();
            void save();
          }}
        >
          <textarea
            aria-label="Memory"
            autoFocus
            value={edited}
            onChange={(event) => setEdited(event.target.value)}
            onKeyDown={(event) => event.key === "Escape" && setEdited(null)}
          />
          <div>
            <button type="button" onClick={() => setEdited(null)}>
              Cancel
            </button>
            <button className="primary" disabled={action.isRunning || !edited.trim()}>
              Save
            </button>
          </div>
        </form>
      )}
      <span className="detail">{validity(memory)}</span>
      {memory.sources.nodes.map((source) =>
        source.__typename === "Message" ? (
          <button
            type="button"
            className="source"
            key={source.id}
            title="Show it in its conversation"
            onClick={() => go({ session: source.session?.sessionId ?? null, message: source.id })}
          >
            “{source.content}”
          </button>
        ) : (
          <span className="source" key={source.id}>
            {source.title}
          </span>
        ),
      )}
      {edited === null && (
        <div className="actions">
          <button type="button" onClick={() => setEdited(content)}>
            Edit
          </button>
          <button type="button" disabled={action.isRunning} onClick={forget}>
            Forget
          </button>
        </div>
      )}
      {action.problem && <p role="alert">{action.problem}</p>}
    </li>
  );
}

function validity({ kind, validFrom, validUntil, createdAt, supersededBy }: MemoryItemFragment): string {
  const from = date(validFrom ?? createdAt);
  if (kind === "EVENT") return `on ${from}`;
  const span = validUntil ? `${from} – ${date(validUntil)}` : `since ${from}`;
  return supersededBy ? `${span}, then: ${supersededBy.content}` : span;
}
