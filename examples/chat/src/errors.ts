// Codes of errors that pass by themselves: the same request may succeed a moment later.
const PASSING = ["UNAVAILABLE", "TIMEOUT", "RATE_LIMITED", "UNAUTHENTICATED"];

export const passes = (code: unknown): boolean => PASSING.includes(String(code));
