import { useMemo } from 'react';
import { Link } from 'react-router-dom';
import type { Lab } from '../../api/lab';
import { percent, rate, seconds } from '../../parts/format';
import { useWidth } from '../../parts/width';
import { healthOf, phaseText } from './health';
import { layers } from './layout';
import type { Placed } from './layout';

/** A line between two of them, and what is written on it. */
interface Line {
  from: string;
  to: string;
  label: string[];
  tone: 'plain' | 'bad' | 'idle';
  /** Of telemetry, not of requests. */
  signal: boolean;
}

interface Props {
  lab: Lab;
  selected: string | null;
  select: (name: string) => void;
}

export function Topology({ lab, selected, select }: Props) {
  const requests = useMemo(() => requestLines(lab), [lab]);
  const signals = useMemo(() => signalLines(lab), [lab]);
  const collector = lab.components.find(({ name }) => name === 'otel-collector');
  return (
    <>
      <h2>Requests</h2>
      {requests.length > 0 ? (
        <Graph lines={requests} lab={lab} selected={selected} select={select} />
      ) : collector && collector.phase !== 'healthy' ? (
        <p className="empty">
          Who calls whom is not known: the Collector, by way of which it is, is {phaseText(collector.phase)}.{' '}
          <Link to="/services/otel-collector">More of it</Link>
        </p>
      ) : (
        <p className="empty">
          Nobody has called anybody yet: <code>curl localhost:8001/users</code> is a beginning, <code>./lab load</code>{' '}
          a stream of them.
        </p>
      )}
      <h2>Telemetry</h2>
      <Graph lines={signals} lab={lab} selected={selected} select={select} />
    </>
  );
}

function requestLines(lab: Lab): Line[] {
  return lab.edges.map((edge) => {
    const failed = edge.requests > 0 ? edge.errors / edge.requests : 0;
    const label = [rate(edge.requests)];
    if (edge.p95 !== null) label.push(`p95 ${seconds(edge.p95)}`);
    if (failed > 0) label.push(`${percent(failed)} failed`);
    return {
      from: edge.client,
      to: edge.server,
      label,
      tone: failed > 0.01 ? 'bad' : edge.requests > 0 ? 'plain' : 'idle',
      signal: false,
    };
  });
}

function signalLines(lab: Lab): Line[] {
  const lines = new Map<string, Line>();
  for (const { from, to, what, per_second } of lab.signals) {
    const key = `${from} ${to}`;
    const line = lines.get(key) ?? { from, to, label: [], tone: 'idle', signal: true };
    if (per_second !== null) {
      if (what !== 'notifications' || per_second > 0) line.label.push(`${rate(per_second)} ${what}`);
      if (per_second > 0) line.tone = 'plain';
    }
    lines.set(key, line);
  }
  const alerts: Line = { from: 'prometheus', to: 'alertmanager', label: ['alerts'], tone: 'plain', signal: true };
  return [...lines.values(), alerts];
}

const NARROW = 640;
const NODE = { width: 148, height: 46 };

function Graph({ lines, lab, selected, select }: Props & { lines: Line[] }) {
  const [frame, width] = useWidth<HTMLDivElement>();
  const names = [...new Set(lines.flatMap(({ from, to }) => [from, to]))].sort();
  const placed = layers(names, lines);
  const depth = Math.max(...placed.map(({ layer }) => layer)) + 1;
  const breadth = Math.max(...placed.map(({ slots }) => slots));
  const narrow = width < NARROW;
  const node = { ...NODE, width: Math.min(NODE.width, narrow ? width / breadth - 8 : NODE.width) };
  const height = narrow ? depth * 118 - 60 : breadth * 78;
  const centre = ({ layer, slot, slots }: Placed) =>
    narrow
      ? { x: ((slot + 0.5) / slots) * width, y: layer * 118 + node.height / 2 + 4 }
      : {
          x: node.width / 2 + 4 + (depth > 1 ? (layer * (width - node.width - 8)) / (depth - 1) : 0),
          y: ((slot + 0.5) / slots) * height,
        };
  const at = new Map(placed.map((each) => [each.name, centre(each)]));

  return (
    <div className="graph" ref={frame} style={{ height }}>
      {width > 0 && (
        <>
          <svg width={width} height={height} aria-hidden="true">
            {lines.map((line) => (
              <Arrow key={`${line.from} ${line.to} ${line.label.join()}`} line={line} at={at} node={node} narrow={narrow} />
            ))}
          </svg>
          {placed.map(({ name }) => {
            const { x, y } = at.get(name) ?? { x: 0, y: 0 };
            return (
              <NodeButton
                key={name}
                name={name}
                lab={lab}
                lines={lines}
                selected={selected === name}
                select={select}
                style={{ left: x - node.width / 2, top: y - node.height / 2, width: node.width, height: node.height }}
              />
            );
          })}
        </>
      )}
    </div>
  );
}

type Point = { x: number; y: number };

function Arrow({ line, at, node, narrow }: { line: Line; at: Map<string, Point>; node: typeof NODE; narrow: boolean }) {
  const [from, to] = [at.get(line.from), at.get(line.to)];
  if (!from || !to) return null;
  const start = narrow ? { x: from.x, y: from.y + node.height / 2 } : { x: from.x + node.width / 2, y: from.y };
  const end = narrow ? { x: to.x, y: to.y - node.height / 2 - 7 } : { x: to.x - node.width / 2 - 7, y: to.y };
  const middle = { x: (start.x + end.x) / 2, y: (start.y + end.y) / 2 };
  const path = narrow
    ? `M${start.x},${start.y} C${start.x},${middle.y} ${end.x},${middle.y} ${end.x},${end.y}`
    : `M${start.x},${start.y} C${middle.x},${start.y} ${middle.x},${end.y} ${end.x},${end.y}`;
  const head = narrow
    ? `M${end.x - 5},${end.y} h10 l-5,7 z`
    : `M${end.x},${end.y - 5} v10 l7,-5 z`;
  // Where the line arrives: those of one caller are apart there.
  const label = { x: narrow ? end.x : end.x - 2, y: end.y - (line.label.length - 1) * 15 - (narrow ? 14 : 9) };
  return (
    <g className={`arrow ${line.tone}`}>
      <path d={path} className="way" />
      <path d={head} className="head" />
      {line.label.map((text, index) => (
        <text key={text} x={label.x} y={label.y + index * 15} textAnchor={narrow ? 'middle' : 'end'}>
          {text}
        </text>
      ))}
    </g>
  );
}

interface NodeProps {
  name: string;
  lab: Lab;
  lines: Line[];
  selected: boolean;
  select: (name: string) => void;
  style: React.CSSProperties;
}

function NodeButton({ name, lab, lines, selected, select, style }: NodeProps) {
  const component = lab.components.find((each) => each.name === name);
  if (name === 'user' || name === 'services') {
    return (
      <span className="node outside" style={style}>
        {name === 'user' ? 'callers' : 'edge, users, albums'}
      </span>
    );
  }
  const known = lab.components.length > 0;
  const health = known ? healthOf(component) : 'good';
  const state = component ? phaseText(component.phase) : 'no state';
  const into = lines.filter((line) => line.to === name).flatMap((line) => line.label);
  return (
    <button
      type="button"
      className={`node ${health}`}
      style={style}
      aria-pressed={selected}
      aria-label={`${name}, ${state}${into.length > 0 ? `, ${into.join(', ')}` : ''}`}
      onClick={() => {
        select(name);
      }}
    >
      <span className={`dot ${health}`} aria-hidden="true" />
      <span className="name">{name}</span>
      {health !== 'good' && <span className="state">{state}</span>}
    </button>
  );
}
