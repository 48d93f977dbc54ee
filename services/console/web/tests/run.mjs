// `node run.mjs check` looks at the page's types and style, `node run.mjs browser [name ...]` at the
// page in a Chromium, by all tests or by those whose names begin so, `node run.mjs walks` walks every
// incident in it, `node run.mjs pictures` takes its pictures. What they need is installed first.
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { stale } from './walks-page.mjs';

const tests = import.meta.dirname;
const web = join(tests, '..');

function run(directory, program, ...args) {
  const { status, error } = spawnSync(program, args, { cwd: directory, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

/** npm's own note in node_modules tells what is installed. */
function install(directory) {
  const note = join(directory, 'node_modules/.package-lock.json');
  const lock = join(directory, 'package-lock.json');
  if (existsSync(note) && statSync(note).mtimeMs >= statSync(lock).mtimeMs) return;
  run(directory, 'npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund');
}

switch (process.argv[2]) {
  case 'check':
    install(web);
    run(web, 'npm', 'run', 'check');
    for (const wrong of stale()) {
      console.error(`${wrong}; \`node services/console/web/tests/run.mjs walks\` mends that`);
      process.exitCode = 1;
    }
    break;
  case 'browser': {
    install(tests);
    const names = process.argv.slice(3).map((name) => `--test-name-pattern=^${name}`);
    run(tests, process.execPath, '--test', '--test-reporter=spec', ...names, 'console.test.mjs');
    break;
  }
  case 'walks':
    install(tests);
    run(tests, process.execPath, 'walked.mjs', ...process.argv.slice(3));
    break;
  case 'pictures':
    install(tests);
    run(tests, process.execPath, 'pictures.mjs');
    break;
  default:
    console.error('expected one of: check, browser, walks, pictures');
    process.exit(2);
}
