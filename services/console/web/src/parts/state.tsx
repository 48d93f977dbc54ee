import type { ReactNode } from 'react';
import { messageOf } from '../api/ask';

export function Loading({ what }: { what: string }) {
  return (
    <p className="loading" role="status">
      <span className="spinner" aria-hidden="true" /> Loading {what} …
    </p>
  );
}

/** What went wrong, where; and that it is tried again, when it is. */
export function Problem({ what, error, again }: { what: string; error: unknown; again?: () => void }) {
  return (
    <div className="problem" role="alert">
      <strong>{what}</strong>
      <span>{messageOf(error)}</span>
      {again && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Empty({ children }: { children: ReactNode }) {
  return <p className="empty">{children}</p>;
}
