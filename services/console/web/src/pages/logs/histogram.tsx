import type { Level, LogLine } from '../../api/loki';
import { millis } from '../../api/loki';
import { clock, plural } from '../../parts/format';

const BARS = 60;
const LEVELS: Level[] = ['error', 'warn', 'info', 'debug', 'unknown'];

/** How many lines when, by level. A bar leads to its time. */
export function Histogram({
  lines,
  from,
  to,
  zoom,
}: {
  lines: LogLine[];
  from: number;
  to: number;
  zoom: (next: Record<string, string>) => void;
}) {
  // Between the first and the last line when they fill a small part of the time only.
  const times = lines.map(millis);
  const first = times.reduce((least, time) => Math.min(least, time), to);
  const last = times.reduce((most, time) => Math.max(most, time), from);
  const [begin, end] = last - first < (to - from) / 4 ? [first, Math.max(last, first + 1)] : [from, to];
  const width = (end - begin) / BARS;
  const bars = Array.from({ length: BARS }, () => new Map<Level, number>());
  lines.forEach((line, index) => {
    const bar = bars[Math.min(BARS - 1, Math.max(0, Math.floor(((times[index] ?? begin) - begin) / width)))];
    bar?.set(line.level, (bar.get(line.level) ?? 0) + 1);
  });
  const total = (bar: Map<Level, number>) => [...bar.values()].reduce((sum, count) => sum + count, 0);
  const most = Math.max(1, ...bars.map(total));
  return (
    <div className="histogram" aria-hidden="true">
      {bars.map((bar, index) => {
        const at = begin + (index + 0.5) * width;
        const count = total(bar);
        return (
          <button
            key={index}
            type="button"
            tabIndex={-1}
            disabled={count === 0}
            title={`${plural(count, 'line')} about ${clock(at)}`}
            onClick={() => {
              zoom({ at: String(Math.round(at)), last: String(Math.max(0.1, (width * 4) / 60_000)), follow: '' });
            }}
          >
            {LEVELS.filter((level) => bar.has(level)).map((level) => (
              <span key={level} className={level} style={{ height: `${((bar.get(level) ?? 0) / most) * 100}%` }} />
            ))}
          </button>
        );
      })}
      <span className="from">{clock(begin)}</span>
      <span className="to">{clock(end)}</span>
    </div>
  );
}
