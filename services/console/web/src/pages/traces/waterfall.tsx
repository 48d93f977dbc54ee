import { useEffect, useMemo, useRef, useState } from 'react';
import { Virtuoso } from 'react-virtuoso';
import type { VirtuosoHandle } from 'react-virtuoso';
import type { LogLine } from '../../api/loki';
import { serviceColour } from '../../parts/colour';
import { micros } from '../../parts/format';
import { SpanDetails } from './span-details';
import { visible } from './tree';
import type { Row, Tree } from './tree';

interface Props {
  tree: Tree;
  lines: LogLine[];
  selected: string | null;
  select: (span: string | null) => void;
}

/** More rows than this scroll within the page. */
const MOST_ROWS = 40;

/** The spans of a trace on one time axis. Only the rows that are seen are in the page: a trace may
 * have ten thousand. */
export function Waterfall({ tree, lines, selected, select }: Props) {
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set());
  const rows = useMemo(() => visible(tree.rows, closed), [tree.rows, closed]);
  const chosen = rows.findIndex(({ span }) => span.id === selected);
  const [focused, setFocused] = useState(Math.max(0, chosen));
  const list = useRef<VirtuosoHandle>(null);
  const frame = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (chosen >= 0) list.current?.scrollIntoView({ index: chosen });
  }, [chosen]);

  const toggle = (row: Row, close = !closed.has(row.span.id)) => {
    const next = new Set(closed);
    if (close && row.children > 0) next.add(row.span.id);
    else next.delete(row.span.id);
    setClosed(next);
  };
  const focus = (index: number) => {
    const to = Math.min(rows.length - 1, Math.max(0, index));
    setFocused(to);
    list.current?.scrollIntoView({
      index: to,
      done: () => frame.current?.querySelector<HTMLElement>(`[data-row="${to}"]`)?.focus(),
    });
  };
  const onKey = (event: React.KeyboardEvent, index: number) => {
    const row = rows[index];
    if (!row) return;
    const moves: Record<string, () => void> = {
      ArrowDown: () => {
        focus(index + 1);
      },
      ArrowUp: () => {
        focus(index - 1);
      },
      Home: () => {
        focus(0);
      },
      End: () => {
        focus(rows.length - 1);
      },
      ArrowRight: () => {
        toggle(row, false);
      },
      ArrowLeft: () => {
        toggle(row, true);
      },
      Enter: () => {
        select(selected === row.span.id ? null : row.span.id);
      },
      ' ': () => {
        select(selected === row.span.id ? null : row.span.id);
      },
      Escape: () => {
        select(null);
      },
    };
    const move = moves[event.key];
    if (move) {
      event.preventDefault();
      move();
    }
  };

  const total = Math.max(1, tree.end - tree.start);
  const item = (index: number, row: Row) => (
    <div className="waterfall-item">
      <SpanRow
        row={row}
        index={index}
        tree={tree}
        total={total}
        open={!closed.has(row.span.id)}
        selected={row.span.id === selected}
        reachable={index === Math.min(focused, rows.length - 1)}
        lines={lines.filter((line) => line.span === row.span.id).length}
        toggle={() => {
          toggle(row);
        }}
        choose={() => {
          setFocused(index);
          select(selected === row.span.id ? null : row.span.id);
        }}
        onKey={(event) => {
          onKey(event, index);
        }}
      />
      {row.span.id === selected && <SpanDetails row={row} tree={tree} lines={lines} />}
    </div>
  );

  return (
    <section className="card waterfall" ref={frame} aria-label="Spans">
      <Axis total={total} />
      <div role="tree" aria-label="Spans by parent" style={{ '--indents': Math.min(tree.depth, 12) } as React.CSSProperties}>
        {rows.length > MOST_ROWS ? (
          <Virtuoso ref={list} data={rows} itemContent={item} style={{ height: '70vh' }} initialTopMostItemIndex={Math.max(0, chosen)} />
        ) : (
          <Virtuoso ref={list} data={rows} itemContent={item} useWindowScroll initialItemCount={rows.length} />
        )}
      </div>
      <p className="note keys">Arrow keys move, Enter shows a span's details, left and right close and open what is below.</p>
    </section>
  );
}

function Axis({ total }: { total: number }) {
  return (
    <div className="axis" aria-hidden="true">
      <span />
      <span className="ticks">
        {[0, 0.25, 0.5, 0.75, 1].map((share) => (
          <span key={share} style={{ left: `${share * 100}%` }}>
            {micros(total * share)}
          </span>
        ))}
      </span>
    </div>
  );
}

interface RowProps {
  row: Row;
  index: number;
  tree: Tree;
  total: number;
  open: boolean;
  selected: boolean;
  reachable: boolean;
  lines: number;
  toggle: () => void;
  choose: () => void;
  onKey: (event: React.KeyboardEvent) => void;
}

function SpanRow({ row, index, tree, total, open, selected, reachable, lines, toggle, choose, onKey }: RowProps) {
  const { span, depth, children } = row;
  const left = ((span.start - tree.start) / total) * 100;
  const width = (span.duration / total) * 100;
  const colour = serviceColour(span.service);
  // Beside the bar where there is room for it, else in it.
  const place = left + width < 84 ? 'after' : left > 14 ? 'before' : 'inside';
  const places = {
    after: { left: `calc(${left + width}% + 6px)` },
    before: { right: `calc(${100 - left}% + 6px)` },
    inside: { right: `calc(${100 - left - width}% + 6px)` },
  };
  const peer = span.attributes.find(({ key }) => key === 'service.peer.name')?.value;
  return (
    <div
      role="treeitem"
      data-row={index}
      tabIndex={reachable ? 0 : -1}
      aria-level={depth + 1}
      aria-selected={selected}
      aria-expanded={children > 0 ? open : undefined}
      aria-label={`${span.service} ${span.name}, ${micros(span.duration)}${span.failed ? ', failed' : ''}`}
      className={`span-row${selected ? ' selected' : ''}`}
      onClick={choose}
      onKeyDown={onKey}
    >
      <span className="label" style={{ paddingLeft: `calc(${depth} * var(--indent))` }}>
        {children > 0 ? (
          <button
            type="button"
            tabIndex={-1}
            className="fold"
            aria-hidden="true"
            onClick={(event) => {
              event.stopPropagation();
              toggle();
            }}
          >
            {open ? '▾' : '▸'}
          </button>
        ) : (
          <span className="fold" />
        )}
        {span.failed && (
          <span className="bad" title="failed">
            ●{' '}
          </span>
        )}
        <span className="service" style={{ '--colour': colour } as React.CSSProperties}>
          {span.service}
        </span>{' '}
        <span className="operation">{span.name}</span>
        {peer !== undefined && <span className="note"> → {peer}</span>}
        {!open && <span className="note"> +{row.descendants}</span>}
        {lines > 0 && (
          <span className="note lines" title={`${lines} log lines`}>
            {' '}
            ≡{lines}
          </span>
        )}
      </span>
      <span className="time">
        <span className="bar" style={{ left: `${left}%`, width: `max(2px, ${width}%)`, background: colour }} />
        <span className={`took${place === 'inside' ? ' inside' : ''}`} style={places[place]}>
          {micros(span.duration)}
        </span>
      </span>
    </div>
  );
}
