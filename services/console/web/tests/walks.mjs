// Every incident of scenarios/ as a person walks it in the page: from the lab's first page to the
// alert, and from there to the cause, by clicks alone.
import assert from 'node:assert/strict';
import { open } from './browser.mjs';
import { lab } from './lab.mjs';

/** What is clicked comes with the next scrape, flush or refresh at the latest. */
const PATIENCE = 45_000;
/** A lab becomes calm, is broken, and its alert is told. */
const TOLD = 15 * 60_000;
const RESOLVED = 5 * 60_000;

/** Somebody who looks, clicks, and types nothing. */
class Person {
  constructor(page) {
    this.page = page;
    this.way = [];
    this.cause = null;
  }

  async click(what, name) {
    const target = what.first();
    await target.waitFor({ timeout: PATIENCE });
    const text = name ?? (await target.innerText());
    await target.click();
    this.way.push(text.replace(/\s+/g, ' ').trim());
  }

  /** A link or button of this name, in all of the page or in a part of it. */
  async follow(name, part = this.page) {
    const exact = typeof name === 'string';
    await this.click(part.getByRole('link', { name, exact }).or(part.getByRole('button', { name, exact })));
  }

  async sees(what) {
    await what.first().waitFor({ timeout: PATIENCE });
  }

  /** What explains the incident is on the screen. */
  async finds(what) {
    await this.sees(what);
    await what.first().scrollIntoViewIfNeeded();
    const box = await what.first().boundingBox();
    const { height } = this.page.viewportSize();
    assert.ok(box && box.y < height && box.y + box.height > 0, 'the cause is not on the screen');
    const text = (await what.first().innerText()).replace(/\s+/g, ' ').trim();
    this.cause = this.cause ? `${this.cause}; ${text}` : text;
  }

  /** From the lab's first page to an alert that fires, and along one of its ways. */
  async alert(name, of, way) {
    await this.follow('what fires, and where to look');
    await this.along(name, of, way);
  }

  async along(name, of, way) {
    const alert = this.page.locator('.alerts li', { hasText: name }).filter({ hasText: of }).filter({ hasText: 'firing' });
    await this.follow(way, alert.first());
  }

  section(name) {
    return this.page.getByRole('region', { name, exact: true });
  }

  async firstTrace() {
    await this.click(this.page.locator('.results a'), 'the first trace');
  }

  /** What the log says of the trace that is shown. */
  said(words) {
    return this.page.locator('main q', { hasText: words });
  }
}

const LATENCY = ['ErrorBudgetBurn', 'users-latency-12h'];
const ERRORS = ['ErrorBudgetBurn', 'users-availability-12h'];
const HOW_USERS = 'How users is, now and before';
const CPU = 'What its CPU does now';

/** The steps of each scenario's walk, in the page. */
export const WALKS = {
  'albums-down': async (person) => {
    await person.alert('UpstreamFailing', 'albums', 'How edge is, now and before');
    await person.sees(person.section('Answers').getByRole('row', { name: /\/albums 503/ }));
    await person.follow('failed calls', person.section('Calls of it').getByRole('row', { name: /^albums/ }));
    await person.firstTrace();
    await person.follow('edge GET');
    await person.follow('Logs of albums then');
    await person.finds(person.page.locator('.line', { hasText: 'GET /albums 503' }));
  },
  'bad-deploy': async (person) => {
    await person.alert(...ERRORS, HOW_USERS);
    const bad = person.section('Versions').getByRole('row', { name: /^0\.2\.0/ });
    await person.finds(bad);
    await person.follow('its failed traces', bad);
    await person.firstTrace();
    await person.sees(person.page.getByText(/users 0\.2\.0/));
    await person.finds(person.said('fails on purpose'));
  },
  'collector-down': async (person) => {
    await person.alert('CollectorDown', 'otel-collector', 'How otel-collector is, now and before');
    await person.sees(person.page.getByText('connection refused'));
    await person.finds(person.page.getByText('otel-collector was stopped and does not run'));
    await person.follow('Lab', person.page.locator('h1'));
    await person.follow('users', person.page.getByRole('table'));
    await person.sees(person.section('Answers').getByRole('row', { name: /\/users 200/ }));
    await person.finds(person.section('Numbers').getByRole('row', { name: /^spans dropped .* 0 / }));
  },
  'cpu-hot-loop': async (person) => {
    await person.alert('CpuTimePerRequestHigh', 'users', HOW_USERS);
    await person.sees(person.section('Numbers').getByRole('row', { name: /^CPU in its own code/ }));
    await person.follow(CPU);
    await person.finds(person.page.getByText(/^Most of it, .* users::work::spin/));
  },
  'error-burst': async (person) => {
    await person.alert(...ERRORS, HOW_USERS);
    await person.sees(person.section('Answers').getByRole('row', { name: /\/users 500/ }));
    await person.follow('Failed traces');
    await person.firstTrace();
    await person.finds(person.said('fails on purpose'));
  },
  'latency-tail': async (person) => {
    await person.alert(...LATENCY, HOW_USERS);
    await person.sees(person.section('Numbers').getByRole('row', { name: /^nine in ten within/ }));
    await person.follow('Slowest traces');
    await person.firstTrace();
    await person.finds(person.said('slow on purpose'));
  },
  'lock-contention': async (person) => {
    await person.alert(...LATENCY, HOW_USERS);
    await person.follow('slowest calls', person.section('Calls of it').getByRole('row', { name: /^postgres/ }));
    await person.firstTrace();
    await person.follow(/^users SELECT/);
    await person.finds(person.page.locator('.sql pre', { hasText: 'FOR UPDATE' }));
  },
  'memory-leak': async (person) => {
    await person.alert('MemoryRunsOut', 'users', HOW_USERS);
    await person.sees(person.section('Numbers').getByRole('row', { name: /^memory in ten minutes/ }));
    await person.finds(person.section('Changes').getByText(/faults changed.*leak_bytes/));
  },
  'seed-mix': async (person) => {
    await person.alert('CpuTimePerRequestHigh', 'users', CPU);
    await person.finds(person.page.getByText(/^Most of it, .* users::work::spin/));
    await person.follow('SLOs and alerts');
    await person.along('CpuTimePerRequestHigh', 'users', HOW_USERS);
    await person.sees(person.section('Answers').getByRole('row', { name: /\/users 500/ }));
    await person.follow('Failed traces');
    await person.firstTrace();
    await person.finds(person.said('fails on purpose'));
    await person.follow('SLOs and alerts');
    await person.along('CpuTimePerRequestHigh', 'users', 'Slowest traces');
    await person.firstTrace();
    await person.finds(person.said('slow on purpose'));
  },
  'slow-query': async (person) => {
    await person.alert(...LATENCY, HOW_USERS);
    await person.follow('slowest calls', person.section('Calls of it').getByRole('row', { name: /^postgres/ }));
    await person.firstTrace();
    await person.follow(/^users SELECT/);
    await person.finds(person.page.locator('.sql pre', { hasText: 'pg_sleep' }));
  },
  'users-down': async (person) => {
    await person.alert('ServiceDown', 'users', HOW_USERS);
    await person.sees(person.page.getByText('connection refused'));
    await person.finds(person.page.getByText('users was stopped and does not run'));
    await person.follow('failed calls', person.section('Calls to it').getByRole('row', { name: /^edge/ }));
    await person.firstTrace();
    await person.finds(person.said('not reachable'));
  },
};

/** Runs an incident from the page, walks to its cause while it is held, heals it from the page. */
export async function walk(browser, name, { picture, say = () => undefined } = {}) {
  const desk = await open(browser, `/incidents?name=${name}`);
  const page = await open(browser, '/');
  let healed = false;
  try {
    await desk.getByLabel('stay broken until I heal it').check();
    await desk.getByRole('button', { name: 'Run it' }).click();
    // Not the run before.
    await desk.getByText(`${name} runs`, { exact: true }).waitFor({ timeout: 30_000 });
    await desk.getByText(`${name} stays broken until you heal it`).waitFor({ timeout: TOLD });
    await desk.locator('.timeline li', { hasText: 'it reached the webhook' }).waitFor({ timeout: 5_000 });
    say('held');

    const person = new Person(page);
    await WALKS[name](person);
    if (picture) await page.screenshot({ path: picture, animations: 'disabled' });
    say(`${person.way.length} clicks: ${person.way.join(' › ')}: ${person.cause}`);

    await desk.getByRole('button', { name: 'Heal', exact: true }).click();
    healed = true;
    await desk.locator('.timeline li', { hasText: 'you said that it may heal' }).waitFor({ timeout: 30_000 });
    await desk.getByRole('heading', { name: 'The last run: everything was seen, told and healed' }).waitFor({ timeout: RESOLVED });
    await desk.locator('.timeline li', { hasText: 'the end of the alert reached the webhook' }).waitFor({ timeout: 5_000 });
    assert.deepEqual([...page.wrongs, ...desk.wrongs], []);
    return { clicks: person.way.length, way: person.way, cause: person.cause };
  } catch (error) {
    if (picture) {
      await page.screenshot({ path: picture.replace(/\.png$/, '-failed.png') }).catch(() => undefined);
      await desk.screenshot({ path: picture.replace(/\.png$/, '-desk.png') }).catch(() => undefined);
    }
    throw error;
  } finally {
    if (!healed) lab('scenario', 'heal');
    await page.context().close();
    await desk.context().close();
  }
}
