import { useState } from "react";
import { Icon } from "./Icon";

/** Stands for a login. The back end believes any name, which only a demonstration may do. */
export function SignIn({ onSignIn }: { onSignIn(name: string): void }) {
  const [name, setName] = useState("");
  return (
    <main className="lonely">
      <form
        className="sign-in"
        onSubmit={(event) => {
          event.preventDefault();
          if (name.trim()) onSignIn(name.trim());
        }}
      >
        <Icon name="logo" />
        <h1>RecallQL chat</h1>
        <p>A conversation that remembers. Any name opens a demonstration account of its own.</p>
        <label>
          Your name
          <input
            autoFocus
            autoComplete="username"
            maxLength={100}
            value={name}
            onChange={(event) => setName(event.target.value)}
          />
        </label>
        <button className="primary" disabled={!name.trim()}>
          Sign in
        </button>
      </form>
    </main>
  );
}
