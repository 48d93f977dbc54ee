import { useState } from 'react';
import { Link } from 'react-router-dom';
import { Virtuoso } from 'react-virtuoso';
import { millis } from '../../api/loki';
import type { LogLine } from '../../api/loki';
import { serviceColour } from '../../parts/colour';
import { clock } from '../../parts/format';

/** What each line has shown before it is opened. */
const LONGEST = 2000;

const keyOf = (line: LogLine) => `${line.time} ${line.service} ${line.span ?? ''} ${line.text.slice(0, 80)}`;

export function Lines({ lines }: { lines: LogLine[] }) {
  const [open, setOpen] = useState<string | null>(null);
  return (
    <Virtuoso
      className="lines"
      data={lines}
      useWindowScroll
      initialItemCount={Math.min(lines.length, 30)}
      itemContent={(_, line) => {
        const key = keyOf(line);
        return (
          <Line
            line={line}
            open={open === key}
            toggle={() => {
              setOpen(open === key ? null : key);
            }}
          />
        );
      }}
    />
  );
}

function Line({ line, open, toggle }: { line: LogLine; open: boolean; toggle: () => void }) {
  const cut = !open && line.text.length > LONGEST;
  return (
    <div className={`line ${line.level}`}>
      <div className="line-head">
        <button type="button" className="quiet fold" aria-expanded={open} aria-label="Details" onClick={toggle}>
          {open ? '▾' : '▸'}
        </button>
        <span className="note">{clock(millis(line), true)}</span>
        <span className={`level ${line.level}`}>{line.level === 'unknown' ? '' : line.level}</span>
        <span className="service" style={{ '--colour': serviceColour(line.service) } as React.CSSProperties}>
          {line.service}
        </span>
        <span className="text">
          {cut ? `${line.text.slice(0, LONGEST)} …` : line.text}
        </span>
        {line.trace && (
          <Link to={`/traces/${line.trace}${line.span ? `?span=${line.span}` : ''}`} className="nowrap">
            trace
          </Link>
        )}
      </div>
      {open && (
        <table className="attributes">
          <tbody>
            {Object.entries(line.labels)
              .sort(([a], [b]) => a.localeCompare(b))
              .map(([key, value]) => (
                <tr key={key}>
                  <th scope="row">{key}</th>
                  <td>{value}</td>
                </tr>
              ))}
          </tbody>
        </table>
      )}
    </div>
  );
}
