// The lab that is looked at: its command line, its services, its Collector.
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';

const PROGRAM = process.env.LAB_PROGRAM ?? fileURLToPath(new URL('../../../../lab', import.meta.url));
export const EDGE = process.env.EDGE_URL ?? 'http://127.0.0.1:8001';
const OTLP = process.env.OTLP_HTTP_URL ?? 'http://127.0.0.1:4318';

/** Runs `./lab` with these arguments. */
export function lab(...args) {
  const { status, stdout, stderr, error } = spawnSync(PROGRAM, args, { encoding: 'utf8', timeout: 120_000 });
  if (error) throw error;
  if (status !== 0) throw new Error(`lab ${args.join(' ')} ended with ${status}: ${stderr}${stdout}`);
  return stdout;
}

/** Between two requests of one of them, in milliseconds: people think. */
const PAUSE = 100;

/** Requests until `stop` is called, so many at once, with a pause of so many milliseconds after each. */
export function load(paths, atOnce, pause = PAUSE) {
  let going = true;
  const worker = async () => {
    for (let index = 0; going; index++) {
      await fetch(EDGE + paths[index % paths.length], { signal: AbortSignal.timeout(15_000) })
        .then((answer) => answer.arrayBuffer())
        // A service that is away is what a test may want.
        .catch(() => undefined);
      await new Promise((later) => setTimeout(later, pause));
    }
  };
  const workers = Array.from({ length: atOnce }, worker);
  return {
    stop: async () => {
      going = false;
      await Promise.all(workers);
    },
  };
}

/** Asks until the answer is not empty, or the time is up. */
export async function until(what, seconds, ask) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((later) => setTimeout(later, 500));
  }
}

const attribute = ([key, value]) => ({ key, value: { stringValue: value } });
const resource = (service) => ({ attributes: [attribute(['service.name', service])] });

async function send(path, body) {
  const answer = await fetch(`${OTLP}/v1/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`the Collector refused: ${answer.status} ${await answer.text()}`);
}

/** Sends a trace of spans made by `make(index, ids)` to the Collector, and gives its id. */
export async function sendTrace(service, count, make) {
  const traceId = randomBytes(16).toString('hex');
  const ids = Array.from({ length: count }, () => randomBytes(8).toString('hex'));
  const now = BigInt(Date.now()) * 1_000_000n;
  const spans = ids.map((spanId, index) => {
    const { parent, name, attributes = {} } = make(index, ids);
    return {
      traceId,
      spanId,
      parentSpanId: parent,
      name,
      kind: 1,
      startTimeUnixNano: String(now + BigInt(index) * 1_000n),
      endTimeUnixNano: String(now + BigInt(count) * 1_000n + 5_000_000n),
      attributes: Object.entries(attributes).map(attribute),
    };
  });
  await send('traces', { resourceSpans: [{ resource: resource(service), scopeSpans: [{ spans }] }] });
  return traceId;
}

/** Sends lines to the Collector, as if they had been written at that time. */
export async function sendLogs(service, texts, { traceId, at = Date.now() } = {}) {
  const logRecords = texts.map((text) => ({
    timeUnixNano: String(BigInt(at) * 1_000_000n),
    severityNumber: 17,
    severityText: 'ERROR',
    body: { stringValue: text },
    traceId,
  }));
  await send('logs', { resourceLogs: [{ resource: resource(service), scopeLogs: [{ logRecords }] }] });
}
