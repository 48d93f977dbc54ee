// Writes every dashboard for Grafana and for the console; with --check it only tells what is not fresh.

import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { dashboards } from './dashboards/index.js';
import { grafana } from './grafana.js';
import { console as perses } from './perses.js';
import { reactions } from './reactions.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folders = { grafana: join(root, 'infra/grafana/dashboards'), console: join(root, 'dashboards/console') };

const text = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

const wanted = new Map<string, string>();
for (const dashboard of dashboards) {
  const titles = dashboard.rows.flatMap((row) => row.panels.map((panel) => panel.title));
  const twice = titles.find((title, index) => titles.indexOf(title) !== index);
  if (twice !== undefined) {
    // What is proven of a panel is told by its title.
    throw new Error(`${dashboard.uid}: two panels are called ${twice}`);
  }
  wanted.set(join(folders.grafana, `${dashboard.uid}.json`), text(grafana(dashboard)));
  wanted.set(join(folders.console, `${dashboard.uid}.json`), text(perses(dashboard)));
}
wanted.set(join(root, 'dashboards/reactions.json'), text(reactions(dashboards)));

const read = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
};

for (const folder of Object.values(folders)) {
  mkdirSync(folder, { recursive: true });
}
const there = Object.values(folders).flatMap((folder) =>
  readdirSync(folder).filter((name) => name.endsWith('.json')).map((name) => join(folder, name)));
const stale = [...wanted].filter(([path, content]) => read(path) !== content).map(([path]) => path);
const left = there.filter((path) => !wanted.has(path));

if (process.argv.includes('--check')) {
  const names = [...stale, ...left].map((path) => relative(root, path));
  if (names.length > 0) {
    process.stderr.write(`not what dashboards/src makes: ${names.join(', ')}\nmake them with dashboards/generate\n`);
    process.exitCode = 1;
  } else {
    process.stdout.write(`${wanted.size} files are what dashboards/src makes\n`);
  }
} else {
  for (const path of stale) {
    writeFileSync(path, wanted.get(path) ?? '');
  }
  for (const path of left) {
    rmSync(path);
  }
  process.stdout.write(`${dashboards.length} dashboards, ${stale.length} files written, ${left.length} removed\n`);
}
