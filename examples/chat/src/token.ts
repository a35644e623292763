// The user's token: fetched from the back end when it is needed, and renewed before it expires.

interface Issued {
  token: string;
  renewAt: number;
}

/** The back end gave no token, and said why. */
export class TokenError extends Error {}

/** A function that returns a valid token, or with `true` a new one. It rejects where none is to be had. */
export type TokenSource = (renew?: boolean) => Promise<string>;

export function createTokenSource(user: string): TokenSource {
  let issued: Promise<Issued> | null = null;

  return async function token(renew = false) {
    if (renew) issued = null;
    if (issued && ((await issued.catch(() => null)) ?? { renewAt: 0 }).renewAt <= performance.now()) issued = null;
    // All that ask at the same time share one request.
    issued ??= issue(user);
    return (await issued).token;
  };
}

async function issue(user: string): Promise<Issued> {
  const response = await fetch("/token", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ user }),
    signal: AbortSignal.timeout(15_000),
  });
  const answer = await response.json();
  if (!response.ok) throw new TokenError(answer.error);
  // Counted from here: this machine's clock need not agree with the server's.
  const lifetime = answer.expiresInSeconds * 1000;
  return { token: answer.token, renewAt: performance.now() + lifetime - Math.min(60_000, lifetime / 4) };
}
