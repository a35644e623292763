import { useState } from "react";
import { failureOf, useConnection } from "./client";
import { Context } from "./documents";
import type { ContextQuery } from "./generated/graphql";
import { Icon } from "./Icon";
import { closeOnEscape } from "./keys";
import { Markdown } from "./Markdown";
import { Notice } from "./Notice";

type Found = NonNullable<NonNullable<ContextQuery["session"]>["context"]>;

const BUDGETS = [250, 1000, 4000];

/** What a model would be sent for a question: it is what the back end sends, if there is a model. */
export function ContextView({ sessionId, onClose }: { sessionId: string; onClose(): void }) {
  const { client } = useConnection();
  const [question, setQuestion] = useState("");
  const [maxTokens, setMaxTokens] = useState(1000);
  const [found, setFound] = useState<Found | null>(null);
  const [problem, setProblem] = useState<string | null>(null);

  async function build() {
    setProblem(null);
    const variables = { sessionId, question: question.trim() || null, maxTokens };
    const { data, error } = await client.query(Context, variables, { requestPolicy: "network-only" }).toPromise();
    if (error) return setProblem(failureOf(error).message);
    const context = data?.session?.context;
    if (context) setFound(context);
    else setProblem("The session is gone.");
  }

  return (
    <section className="panel context" aria-label="Context" onKeyDown={closeOnEscape(onClose)}>
      <header>
        <h2>Context for a model</h2>
        <button type="button" className="plain" aria-label="Close context" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void build();
        }}
      >
        <input
          aria-label="Question"
          placeholder="A question, or nothing for the newest turn"
          autoFocus
          value={question}
          onChange={(event) => setQuestion(event.target.value)}
        />
        <div className="row">
          <select aria-label="Budget" value={maxTokens} onChange={(event) => setMaxTokens(Number(event.target.value))}>
            {BUDGETS.map((budget) => (
              <option key={budget} value={budget}>
                {budget.toLocaleString()} tokens
              </option>
            ))}
          </select>
          <button className="primary">Build</button>
        </div>
      </form>
      {problem && <Notice kind="problem">{problem}</Notice>}
      {found && (
        <>
          <p className="tokens">
            <meter min={0} max={found.maxTokens} value={found.tokenCount} aria-label="Tokens used" />
            <strong>{found.tokenCount.toLocaleString()}</strong> of {found.maxTokens.toLocaleString()} tokens
          </p>
          <h3>System text</h3>
          {found.text ? <Markdown text={found.text} /> : <p className="hint">Nothing is known that would help.</p>}
          <h3>
            {found.messages.length} {found.messages.length === 1 ? "turn" : "turns"}
            {found.droppedMessages > 0 && `, ${found.droppedMessages} left out`}
          </h3>
          <ol>
            {found.messages.map((message) => (
              <li key={message.id}>
                <span className="detail">{message.role.toLowerCase()}</span>
                <p>{message.content || "(tool call)"}</p>
              </li>
            ))}
          </ol>
        </>
      )}
    </section>
  );
}
