import { type RefObject, useLayoutEffect } from "react";
import { useConnection } from "./client";
import { Icon } from "./Icon";

interface Props {
  draft: string;
  onDraft(text: string): void;
  onSend(): void;
  input: RefObject<HTMLTextAreaElement | null>;
}

export function Composer({ draft, onDraft, onSend, input }: Props) {
  const { settings } = useConnection();

  // As high as its text, up to a limit that the style sets.
  useLayoutEffect(() => {
    if (!input.current) return;
    input.current.style.height = "auto";
    input.current.style.height = `${input.current.scrollHeight}px`;
  }, [draft]);

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        onSend();
      }}
    >
      <div className="field">
        <textarea
          ref={input}
          rows={1}
          aria-label="Message"
          placeholder="Write to the assistant"
          autoFocus={matchMedia("(hover: hover)").matches}
          value={draft}
          onChange={(event) => onDraft(event.target.value)}
          onKeyDown={(event) => {
            // While an input method composes a character, Enter is its own.
            if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
            event.preventDefault();
            onSend();
          }}
        />
        <button className="primary round" aria-label="Send" title="Send (Enter)" disabled={!draft.trim()}>
          <Icon name="send" />
        </button>
      </div>
      <p className="hint">
        {settings.model
          ? `Answers come from ${settings.model}.`
          : "Answers come from a small script, not from a model."}
      </p>
    </form>
  );
}
