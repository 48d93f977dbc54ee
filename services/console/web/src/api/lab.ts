import { ask } from './ask';

export interface Load {
  requests: number;
  errors: number;
  p50: number | null;
  p95: number | null;
}

export interface Node extends Load {
  name: string;
}

export interface Edge extends Load {
  client: string;
  server: string;
  kind: string;
}

export interface Signal {
  from: string;
  to: string;
  what: string;
  per_second: number | null;
}

export interface LabComponent {
  name: string;
  core: boolean;
  phase: string;
  since: number;
  detail: string | null;
  notice: string | null;
  hint: string | null;
  source: string | null;
  address: string | null;
  crashes: number;
}

export interface Lab {
  /** Pages that this lab has besides those of every lab. */
  pages: string[];
  components: LabComponent[];
  components_problem: string | null;
  window: string;
  nodes: Node[];
  edges: Edge[];
  signals: Signal[];
  graph_problem: string | null;
}

export interface Link {
  name: string;
  result: 'ok' | 'fail' | 'n/a';
  asked: string;
  answer: string;
  seconds: number;
}

export interface Verification {
  running: { since: number; links: number; done: number; waiting: Record<string, string> } | null;
  last: {
    ended: number;
    seconds: number;
    report: { ok: boolean; links: Link[] } | null;
    problem: string | null;
  } | null;
}

export const getLab = () => ask<Lab>('/api/lab');
export const getVerification = () => ask<Verification>('/api/verify');
export const startVerification = () => ask<Verification>('/api/verify', undefined, { method: 'POST' });
