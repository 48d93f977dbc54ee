// Pictures of the console on a running lab, into images/: `CONSOLE_URL=... node run.mjs pictures`.
import { join } from 'node:path';
import { launch, open } from './browser.mjs';
import { lab, load, until } from './lab.mjs';

const IMAGES = join(import.meta.dirname, '../../../../images');

const browser = await launch();
const traffic = load(['/users', '/users', '/albums', '/user/admin', '/'], 2);

async function picture(name, path, { theme = 'light', width = 1280, height = 860, ready }) {
  const page = await open(browser, path, { colorScheme: theme, viewport: { width, height }, deviceScaleFactor: 1 });
  await ready(page);
  // What moves has come to rest.
  await page.waitForLoadState('networkidle', { timeout: 5000 }).catch(() => undefined);
  await page.screenshot({ path: join(IMAGES, `console-${name}.png`), animations: 'disabled' });
  console.log(`images/console-${name}.png`);
  await page.context().close();
}

try {
  // Rates are taken over a minute.
  const page = await open(browser, '/');
  await until('a minute of requests', 150, async () => (await page.getByRole('button', { name: /^edge, healthy, 1\d\/s/ }).count()) > 0);
  await page.context().close();
  await picture('lab', '/', { ready: (page) => page.getByRole('button', { name: /^users, healthy, .*p95/ }).waitFor() });
  await picture('lab-narrow', '/', {
    theme: 'dark',
    width: 400,
    height: 860,
    ready: (page) => page.getByRole('button', { name: /^users, healthy, .*p95/ }).waitFor(),
  });

  lab('fault', 'set', 'users-slow-query-ms', 'heavy');
  lab('fault', 'set', 'users-error-share', 'seed');
  await until('slow traces', 60, async () => {
    const page = await open(browser, '/traces?min=300ms&lookback=5');
    const found = await page
      .locator('.results a')
      .nth(8)
      .waitFor({ timeout: 3000 })
      .then(() => true, () => false);
    await page.context().close();
    return found;
  });
  await picture('traces', '/traces?limit=200&lookback=5&sort=slowest', {
    ready: (page) => page.locator('.results a').nth(5).waitFor(),
  });
  await picture('trace', '/traces?min=300ms&lookback=5&sort=slowest', {
    ready: async (page) => {
      await page.locator('.results a').first().click();
      await page.getByRole('button', { name: 'users SELECT users' }).click();
      await page.locator('.sql pre').waitFor();
      await page.evaluate(() => {
        window.scrollTo(0, 0);
      });
    },
  });
  await picture('service', '/services/users', {
    ready: async (page) => {
      await page.getByRole('region', { name: 'Calls of it' }).getByRole('row', { name: /^postgres/ }).waitFor({ timeout: 30_000 });
      await page.getByRole('region', { name: 'Answers' }).getByRole('row', { name: / 500 / }).waitFor({ timeout: 30_000 });
    },
  });
  await picture('logs', '/logs?last=5&level=warn', { theme: 'dark', ready: (page) => page.locator('.line.error').first().waitFor({ timeout: 30_000 }) });
  await picture('slos', '/slos', { ready: (page) => page.locator('.objective .spark').first().waitFor({ timeout: 60_000 }) });
  lab('fault', 'clear');

  lab('fault', 'set', 'users-cpu-burn-ms', 'heavy');
  await picture('profile', '/profiles?service=users&seconds=5&span=GET%20%2Fusers', {
    ready: (page) => page.locator('.flame canvas').first().waitFor({ timeout: 30_000 }),
  });
  lab('fault', 'clear');
  await picture('dashboard', '/dashboards/lab-service?var-service=users', {
    theme: 'dark',
    ready: async (page) => {
      await page.locator('.dashboard canvas').nth(2).waitFor({ timeout: 20_000 });
    },
  });
} finally {
  lab('fault', 'clear');
  await traffic.stop();
  await browser.close();
}
