import { AskError, ask } from './ask';

interface Tag {
  key: string;
  type: string;
  value: unknown;
}

interface SpanJson {
  traceID: string;
  spanID: string;
  operationName: string;
  references: { refType: string; traceID: string; spanID: string }[] | null;
  startTime: number;
  duration: number;
  tags: Tag[] | null;
  logs: { timestamp: number; fields: Tag[] }[] | null;
  processID: string;
  warnings: string[] | null;
}

interface TraceJson {
  traceID: string;
  spans: SpanJson[] | null;
  processes: Record<string, { serviceName: string; tags: Tag[] | null }>;
}

interface Answer<T> {
  data: T | null;
}

export interface Attribute {
  key: string;
  value: string;
}

export interface SpanEvent {
  /** Microseconds since 1970. */
  time: number;
  name: string;
  attributes: Attribute[];
}

export interface Span {
  id: string;
  parent: string | null;
  service: string;
  name: string;
  kind: string;
  /** Microseconds since 1970. */
  start: number;
  /** Microseconds. */
  duration: number;
  failed: boolean;
  statusMessage: string;
  attributes: Attribute[];
  resource: Attribute[];
  events: SpanEvent[];
  warnings: string[];
}

export interface Trace {
  id: string;
  spans: Span[];
}

export interface Search {
  service: string;
  operation: string;
  minDuration: string;
  maxDuration: string;
  errors: boolean;
  /** `key=value` pairs with spaces between them. */
  attributes: string;
  /** Minutes. */
  lookback: number;
  limit: number;
}

const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

function attributes(tags: Tag[] | null): Attribute[] {
  return (tags ?? [])
    .map(({ key, value }) => ({ key, value: text(value) }))
    .sort((a, b) => a.key.localeCompare(b.key));
}

/** Tags that say what the span's own fields say. */
const FIELDS = new Set(['span.kind', 'error', 'otel.status_code', 'otel.status_description']);

function toSpan(json: SpanJson, processes: TraceJson['processes']): Span {
  const all = attributes(json.tags);
  const tag = (key: string) => all.find((each) => each.key === key)?.value;
  const process = processes[json.processID];
  const parent = json.references?.find((each) => each.refType === 'CHILD_OF' && each.traceID === json.traceID);
  return {
    id: json.spanID,
    parent: parent?.spanID ?? null,
    service: process?.serviceName ?? 'unknown',
    name: json.operationName,
    kind: tag('span.kind') ?? 'internal',
    start: json.startTime,
    duration: json.duration,
    failed: tag('otel.status_code') === 'ERROR' || tag('error') === 'true',
    statusMessage: tag('otel.status_description') ?? '',
    attributes: all.filter((each) => !FIELDS.has(each.key)),
    resource: attributes(process?.tags ?? null),
    events: (json.logs ?? []).map((log) => {
      const fields = attributes(log.fields);
      const name = fields.find((field) => field.key === 'event')?.value ?? 'event';
      return { time: log.timestamp, name, attributes: fields.filter((field) => field.key !== 'event') };
    }),
    warnings: json.warnings ?? [],
  };
}

function toTrace(json: TraceJson): Trace {
  const spans = (json.spans ?? []).map((span) => toSpan(span, json.processes));
  spans.sort((a, b) => a.start - b.start || b.duration - a.duration);
  return { id: json.traceID, spans };
}

const API = '/proxy/jaeger/api';

export async function getServices(): Promise<string[]> {
  const answer = await ask<Answer<string[]>>(`${API}/services`);
  return (answer.data ?? []).sort();
}

export async function getOperations(service: string): Promise<string[]> {
  const answer = await ask<Answer<string[]>>(`${API}/services/${encodeURIComponent(service)}/operations`);
  return (answer.data ?? []).sort();
}

/** `null` when Jaeger has not seen it. */
export async function getTrace(id: string): Promise<Trace | null> {
  try {
    const answer = await ask<Answer<TraceJson[]>>(`${API}/traces/${encodeURIComponent(id)}`);
    const json = answer.data?.[0];
    return json ? toTrace(json) : null;
  } catch (error) {
    if (error instanceof AskError && error.status === 404) return null;
    throw error;
  }
}

/** Of requests that failed at a service. */
const STATUS = 'http.response.status_code';
const FAILED = ['500', '502', '503', '504'];

/** Jaeger 2 keeps failures as a truth value and takes a searched `error=true` for a text, so that it
 * finds none. Failed requests are searched by their status; other failures are picked out of what
 * is found without. */
export async function searchTraces(search: Search): Promise<Trace[]> {
  const tags = attributesOf(search.attributes);
  if (!search.errors) return find(search, tags);
  const statuses = STATUS in tags ? [] : FAILED;
  const searches = [tags, ...statuses.map((status) => ({ ...tags, [STATUS]: status }))];
  const found = await Promise.all(searches.map((each) => find(search, each)));
  const failed = new Map(found.flat().map((trace) => [trace.id, trace]));
  return [...failed.values()]
    .filter(({ spans }) => spans.some((span) => span.failed && span.service === search.service))
    .sort((a, b) => (b.spans[0]?.start ?? 0) - (a.spans[0]?.start ?? 0))
    .slice(0, search.limit);
}

async function find(search: Search, tags: Record<string, string>): Promise<Trace[]> {
  const end = Date.now() * 1000;
  const params: Record<string, string> = {
    service: search.service,
    limit: String(search.limit),
    start: String(end - search.lookback * 60_000_000),
    end: String(end),
  };
  if (search.operation) params['operation'] = search.operation;
  if (search.minDuration) params['minDuration'] = search.minDuration;
  if (search.maxDuration) params['maxDuration'] = search.maxDuration;
  if (Object.keys(tags).length > 0) params['tags'] = JSON.stringify(tags);
  const answer = await ask<Answer<TraceJson[]>>(`${API}/traces`, params);
  return (answer.data ?? []).map(toTrace);
}

/** By their names. */
function attributesOf(text: string): Record<string, string> {
  const tags: Record<string, string> = {};
  for (const [, key, quoted, plain] of text.matchAll(/([^\s=]+)=(?:"([^"]*)"|(\S*))/g)) {
    if (key) tags[key] = quoted ?? plain ?? '';
  }
  return tags;
}

/** What is asked for, to be read. */
export function tagsOf(search: Pick<Search, 'attributes' | 'errors'>): Record<string, string> {
  return { ...(search.errors && { error: 'true' }), ...attributesOf(search.attributes) };
}
