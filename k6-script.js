// The load of the lab: people who list users, half a second apart.
//
//   k6 run k6-script.js                                  10 people, 15 minutes
//   VUS=3 DURATION=30s k6 run k6-script.js               fewer, shorter
//   EDGE_URL=http://localhost:9001 k6 run k6-script.js   another edge
//   ./lab load                                           the same, against the lab that runs
//
// The thresholds are edge's objectives in slo/: 95 % of the requests are answered without a server error, and 95 % without
// one and within a second.
import http from 'k6/http';
import { check, sleep } from 'k6';
import { Rate } from 'k6/metrics';

const PAUSE_SECONDS = 0.5;
// Longer than edge waits for its upstreams (30 s), so that edge's own answer is seen.
const REQUEST_TIMEOUT = '35s';

function setting(name, fallback, pattern, expected) {
  const value = (__ENV[name] || '').trim() || fallback;
  if (!pattern.test(value)) {
    throw new Error(`${name}="${value}" is not valid: expected ${expected}`);
  }
  return value;
}

const edge = setting('EDGE_URL', 'http://localhost:8001', /^https?:\/\/[^\s/?#]+\/?$/, 'an address such as http://localhost:8001')
  .replace(/\/$/, '');
const vus = Number(setting('VUS', '10', /^[1-9][0-9]{0,4}$/, 'a number of people from 1 to 99999'));
const duration = setting('DURATION', '15m', /^(?=.*[1-9])([0-9]+(\.[0-9]+)?(h|m|s|ms))+$/, 'a time such as 30s, 15m or 1h30m');

const withinSecond = new Rate('requests_within_1s');

// As in slo/: what the caller got wrong is no failure of the service.
http.setResponseCallback(http.expectedStatuses({ min: 100, max: 499 }));

export const options = {
  vus,
  duration,
  thresholds: {
    http_req_failed: ['rate<0.05'],
    requests_within_1s: ['rate>=0.95'],
  },
};

export default function () {
  const answer = http.get(`${edge}/users`, { timeout: REQUEST_TIMEOUT });
  withinSecond.add(answer.status >= 100 && answer.status < 500 && answer.timings.duration < 1000);
  check(answer, {
    'status is 200': (r) => r.status === 200,
    'body is a JSON array': (r) => isArray(r),
  });
  sleep(PAUSE_SECONDS);
}

function isArray(answer) {
  try {
    return Array.isArray(answer.json());
  } catch (_) {
    return false;
  }
}
