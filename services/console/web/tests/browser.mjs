// A headless Chromium, and a page in it that remembers what went wrong.
import { existsSync } from 'node:fs';
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

/** CHROMIUM, or the one that Debian's package installs. */
export function chromiumPath() {
  const path = process.env.CHROMIUM ?? '/usr/bin/chromium';
  if (!existsSync(path)) throw new Error(`there is no ${path}: CHROMIUM names another one`);
  return path;
}

export async function launch() {
  return chromium.launch({ executablePath: chromiumPath(), args: FLAGS });
}

/**
 * A page whose console errors, broken scripts and requests to others are kept in `page.wrongs`.
 */
export async function open(browser, path, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.wrongs = [];
  page.on('pageerror', (error) => page.wrongs.push(`script: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error') page.wrongs.push(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    const ours = url.origin === new URL(CONSOLE).origin || url.protocol === 'data:' || url.protocol === 'blob:';
    if (!ours) page.wrongs.push(`request to ${url.origin}`);
  });
  await page.goto(CONSOLE + path);
  return page;
}
