import type { ReactNode } from "react";

interface Action {
  label: string;
  run(): unknown;
}

/** Says what has happened, and offers what can be done about it. */
export function Notice({
  kind,
  children,
  action,
}: {
  kind: "problem" | "info";
  children: ReactNode;
  action?: Action | undefined;
}) {
  return (
    <div className={`notice ${kind}`} role={kind === "problem" ? "alert" : "status"}>
      <span>{children}</span>
      {action && (
        <button type="button" onClick={action.run}>
          {action.label}
        </button>
      )}
    </div>
  );
}
