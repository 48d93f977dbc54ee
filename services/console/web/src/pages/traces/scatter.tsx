import { clock, micros } from '../../parts/format';
import { useWidth } from '../../parts/width';
import type { Found } from './results';
import './scatter.css';

const [HEIGHT, LEFT, BOTTOM] = [130, 62, 18];

/** When, and how long: what stands out is seen before anything is read. The list below has the
 * same links for the keyboard. */
export function Scatter({ traces, open }: { traces: Found[]; open: (id: string) => void }) {
  const [svg, width] = useWidth<SVGSVGElement>();
  const starts = traces.map(({ start }) => start);
  const [first, last] = [Math.min(...starts), Math.max(...starts)];
  const durations = traces.map(({ duration }) => Math.max(1, duration));
  const [least, most] = [Math.log10(Math.min(...durations)), Math.log10(Math.max(...durations))];
  if (traces.length < 3 || last === first) return null;
  // A decade has the same height everywhere, so that quick ones and slow ones are both seen.
  const [low, high] = [Math.floor(least), Math.max(Math.floor(least) + 1, Math.ceil(most))];
  const x = (start: number) => LEFT + 8 + ((start - first) / (last - first)) * Math.max(0, width - LEFT - 20);
  const y = (log: number) => HEIGHT - BOTTOM - ((log - low) / (high - low)) * (HEIGHT - BOTTOM - 10);
  const decades = Array.from({ length: high - low + 1 }, (_, index) => low + index);
  return (
    <svg className="scatter" ref={svg} aria-hidden="true">
      {decades.map((decade) => (
        <line key={decade} className="rule" x1={LEFT} x2={width} y1={y(decade)} y2={y(decade)} />
      ))}
      {traces.map((trace) => (
        <circle
          key={trace.id}
          className={trace.failed > 0 ? 'failed' : ''}
          cx={x(trace.start)}
          cy={y(Math.log10(Math.max(1, trace.duration)))}
          r={5}
          onClick={() => {
            open(trace.id);
          }}
        >
          <title>{`${trace.service} ${trace.name}, ${micros(trace.duration)}, ${clock(trace.start / 1000)}`}</title>
        </circle>
      ))}
      {decades.map((decade) => (
        <text key={decade} x={LEFT - 6} y={y(decade) + 4} textAnchor="end">
          {micros(10 ** decade)}
        </text>
      ))}
      <text x={LEFT} y={HEIGHT - 3}>
        {clock(first / 1000)}
      </text>
      <text x={width} y={HEIGHT - 3} textAnchor="end">
        {clock(last / 1000)}
      </text>
    </svg>
  );
}
