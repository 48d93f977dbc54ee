// docs/console.md, made from what the walks found. It asks for no browser, so that it can be checked without.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../../../..');
const FOUND = join(ROOT, 'docs/console-walks.json');
const PAGE = join(ROOT, 'docs/console.md');

/** Names of the scenarios. */
export function incidents() {
  return readdirSync(join(ROOT, 'scenarios'))
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length))
    .sort();
}

function found() {
  try {
    return JSON.parse(readFileSync(FOUND, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return {};
    throw error;
  }
}

export function keep(name, { clicks, way, cause }) {
  const all = { ...found(), [name]: { clicks, way, cause, on: new Date().toISOString().slice(0, 10) } };
  const sorted = Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(FOUND, `${JSON.stringify(sorted, null, 2)}\n`);
}

/** What a table has room for, and what would end its cell. */
const cell = (text) => (text.length > 160 ? `${text.slice(0, 160)}…` : text).replaceAll('|', '\\|').replaceAll('`', "'");

function page() {
  const all = found();
  const rows = incidents()
    .filter((name) => name in all)
    .map((name) => {
      const { clicks, way, cause } = all[name];
      return `| [${name}](incidents/${name}.md) | ${clicks} | ${way.map(cell).join(' › ')} | ${cell(cause)} |`;
    });
  const left = incidents().filter((name) => !(name in all));
  const latest = Object.values(all)
    .map(({ on }) => on)
    .sort()
    .at(-1);
  return `<!-- Made by \`node services/console/web/tests/run.mjs walks\` from console-walks.json: run that. -->
# Incidents, walked in the console

Each incident below was run from the console with "stay broken until I heal it", and walked in a headless Chromium by clicks
alone, from the console's first page to the alert that fires and on to its cause. Nothing was typed. Then it was healed from the
page, which told the end of the alert.

\`\`\`sh
./lab up --wait
node services/console/web/tests/run.mjs walks               # all of them, about half an hour
node services/console/web/tests/run.mjs walks slow-query    # one
\`\`\`

| incident | clicks | the way | what is on the screen then |
|---|---:|---|---|
${rows.join('\n')}

${left.length > 0 ? `Not walked yet, of those in [\`scenarios/\`](../scenarios): ${left.join(', ')}. ` : ''}The latest on ${latest}. \`./lab test\` walks \`error-burst\`. Pictures of each cause are left in \`target/console-walks\`.
`;
}

export function write() {
  writeFileSync(PAGE, page());
  console.log('docs/console.md');
}

/** What is wrong with the page, or nothing. */
export function stale() {
  const all = found();
  const names = incidents();
  const wrong = [
    ...Object.keys(all)
      .filter((name) => !names.includes(name))
      .map((name) => `docs/console-walks.json: there is no incident ${name}`),
  ];
  if (readFileSync(PAGE, 'utf8') !== page()) wrong.push('docs/console.md is not what docs/console-walks.json makes');
  return wrong;
}
