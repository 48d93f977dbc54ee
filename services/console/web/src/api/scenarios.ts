import { ask } from './ask';

export interface TraceQuestion {
  service: string;
  operation?: string;
  tags?: Record<string, string>;
  /** Seconds. */
  min_duration?: number;
}

/** What a backend is asked. */
export type Question =
  | { promql: string }
  | { logs: string }
  | { traces: TraceQuestion }
  | { profile: { function: string; seconds: number; share: number } }
  | { link: { url: string; shows?: string; lacks?: string } };

export interface Scenario {
  name: string;
  title: string;
  summary: string;
  broken: { flags: Record<string, string>; stop: string[]; deploy: Record<string, string> };
  load: { people: number; paths: Record<string, number> };
  expect: { name: string; within: number; question: Question }[];
  alert: { labels: Record<string, string>; within: number };
  heal: { text: string; resolved_within: number };
  walk: { text: string; question: Question }[];
}

/** Something that happened in a run. */
export interface Moment {
  /** Seconds since 1970. */
  at: number;
  event: string;
  name?: string;
  answer?: string;
  came?: string;
  /** Of the walk, from 1. */
  step?: number;
  /** A held run is healed by then, in seconds since 1970. */
  until?: number;
  /** Whether somebody said that it may heal. */
  asked?: boolean;
}

export interface Report {
  scenario: string;
  title: string;
  broken: string;
  started: number;
  phase: string;
  waiting?: Record<string, string>;
  timeline: Moment[];
  answers: Record<string, number>;
  outcome: 'passed' | 'failed' | 'interrupted' | null;
  failures: string[];
}

export interface Scenarios {
  scenarios: Scenario[];
  report: Report | null;
  running: boolean;
  broken: boolean;
  /** Names of those that cannot be run from here, and why. */
  cannot: Record<string, string>;
  /** Files that are no scenarios, and why. */
  faults: string[];
}

export const getScenarios = () => ask<Scenarios>('/api/scenarios');

/** With `hold` it stays broken after its walk for so long at most, such as `15m`. */
export async function runScenario({ name, hold }: { name: string; hold: string | null }): Promise<void> {
  const query = hold === null ? '' : `?${new URLSearchParams({ hold }).toString()}`;
  await post(`/api/scenarios/run/${encodeURIComponent(name)}${query}`);
}

/** Lets a held run heal and go on to its end. */
export async function release(): Promise<void> {
  await post('/api/scenarios/release');
}

export async function heal(): Promise<void> {
  await post('/api/scenarios/heal');
}

/** Their answers say nothing; their refusals do. */
async function post(path: string): Promise<void> {
  const answer = await fetch(path, { method: 'POST' });
  if (answer.ok) return;
  const text = await answer.text();
  let detail: string | undefined;
  try {
    detail = (JSON.parse(text) as { detail?: string }).detail;
  } catch {
    // Then the text itself.
  }
  throw new Error(detail ?? text.slice(0, 500));
}
