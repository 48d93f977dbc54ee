import type { ReactNode } from 'react';

/** A table of ours; one that is wider than the page scrolls by itself. */
export function Table({ columns, className, children }: { columns: string[]; className?: string; children: ReactNode }) {
  return (
    <div className="scroll">
      <table className={className}>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column}>{column}</th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
