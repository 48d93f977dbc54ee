// A headless Chromium, and pages in it that remember what went wrong.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import carried from '@sparticuz/chromium';
import { chromium } from 'playwright-core';

/** Where the console answers. */
export const CONSOLE = process.env.CONSOLE_URL ?? 'http://127.0.0.1:8088';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];

/** CHROMIUM, or one of this machine, or the one that came with npm. */
async function program() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const directory of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of NAMES) {
      const path = join(directory, name);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // Not here.
      }
    }
  }
  return carried.executablePath();
}

export async function launch() {
  return chromium.launch({ executablePath: await program(), args: FLAGS });
}

/** A page whose failed scripts, console errors and requests to elsewhere are kept in `wrongs`. */
export async function open(browser, path, { errorsExpected = false, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.wrongs = [];
  page.on('pageerror', (error) => page.wrongs.push(`script: ${error.message}`));
  page.on('console', (message) => {
    // An answer that is an error is told by the browser itself.
    const told = errorsExpected && message.text().startsWith('Failed to load resource');
    if (message.type() === 'error' && !told) page.wrongs.push(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    const inside = ['data:', 'blob:'].includes(url.protocol);
    if (!inside && url.origin !== new URL(CONSOLE).origin) page.wrongs.push(`request to ${url.origin}`);
  });
  await page.goto(CONSOLE + path);
  return page;
}
