// `node run.mjs walks [name ...]`: walks these incidents in the page, or all, keeps what was found in
// docs/console-walks.json, and writes docs/console.md from it.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { launch } from './browser.mjs';
import { ROOT, incidents, keep, write } from './walks-page.mjs';
import { walk } from './walks.mjs';

const PICTURES = join(ROOT, 'target/console-walks');

const wanted = process.argv.slice(2);
const all = incidents();
for (const name of wanted) {
  if (!all.includes(name)) {
    console.error(`there is no incident ${name}: expected one of ${all.join(', ')}`);
    process.exit(2);
  }
}
mkdirSync(PICTURES, { recursive: true });
const browser = await launch();
let failed = 0;
try {
  for (const name of wanted.length > 0 ? wanted : all) {
    const began = Date.now();
    const say = (text) => {
      console.log(`${name}: ${Math.round((Date.now() - began) / 1000)} s: ${text}`);
    };
    try {
      keep(name, await walk(browser, name, { picture: join(PICTURES, `${name}.png`), say }));
      say('healed');
    } catch (error) {
      failed++;
      say(`failed: ${error.stack}`);
    }
  }
} finally {
  await browser.close();
}
write();
process.exit(failed > 0 ? 1 : 0);
