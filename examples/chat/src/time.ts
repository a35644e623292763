const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const LONG = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

/** The time of a message; the day stands above it. */
export const clockTime = (time: string) => CLOCK.format(new Date(time));

export const date = (time: string) => DATE.format(new Date(time));

export const longDate = (time: string) => LONG.format(new Date(time));

/** The time today, else the day. */
export function shortTime(time: string): string {
  const then = new Date(time);
  const now = new Date();
  if (then.toDateString() === now.toDateString()) return CLOCK.format(then);
  return (then.getFullYear() === now.getFullYear() ? DAY : DATE).format(then);
}
