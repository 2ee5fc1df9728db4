// The page in a real browser while a database fails over from pg1 to pg3: before, during and after. `node failover.mjs ADDRESS MODULES PICTURES`
// says `before` when it has seen the first, and ends with the last. What PICTURES has as .txt by then is drawn as a terminal shows it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { accessible, installed, watch } from './browser.mjs';

const [address, modules, pictures] = process.argv.slice(2);
const { axe, launch } = installed(modules);
const wait = { timeout: 90_000 };

async function draw(browser, file) {
  const page = await browser.newPage({ viewport: { width: 1120, height: 200 } });
  await page.setContent('<body style="margin:0;background:#1d2127"><pre style="margin:0;padding:14px 18px;color:#dde3ea;font:13px/1.45 monospace;width:fit-content"></pre>');
  await page.evaluate((text) => { document.querySelector('pre').textContent = text; }, fs.readFileSync(file, 'utf8').trimEnd());
  await page.locator('pre').screenshot({ path: file.replace(/\.txt$/, '.png') });
  await page.close();
}

async function main(browser) {
  // axe needs a page whose policy doesn't hold; what is looked at besides is the page as it is served.
  const page = await browser.newPage({ viewport: { width: 1000, height: 860 }, colorScheme: 'light' });
  const seen = watch(page);
  const picture = (name) => page.screenshot({ path: path.join(pictures, `page-${name}.png`) });
  await page.goto(address);
  const says = (name) => document.querySelector('#primary').textContent.startsWith(`Primary: ${name}`);
  const pods = (word) => document.querySelector('#pods').textContent.includes(word);
  const moving = () => document.querySelectorAll('#moving tbody tr').length > 0;
  await page.waitForFunction(says, 'pg1', wait);
  await page.waitForFunction(pods, ' near', wait);
  await page.waitForFunction(() => document.querySelectorAll('#readiness tbody tr').length > 0, null, wait);
  await picture('before');
  console.log('before');
  await page.waitForFunction(says, 'pg3', wait);
  await page.waitForFunction(moving, null, wait);
  await picture('during');
  console.log('during');
  // The first row is the present primary's: between two waves nobody is on the move either.
  const over = () => document.querySelectorAll('#moving tbody tr').length === 0 && document.querySelector('#history > li').textContent.includes('the movement is over');
  await page.waitForFunction(over, null, wait);
  assert.equal(await page.evaluate(pods, 'far'), false, await page.textContent('#pods'));
  await picture('after');
  assert.deepEqual([...seen.hosts], [new URL(address).host], 'nothing is asked of other hosts');
  assert.deepEqual(seen.errors, []);
  const context = await browser.newContext({ bypassCSP: true, colorScheme: 'dark' });
  const again = await context.newPage();
  await again.goto(address);
  await again.waitForFunction(says, 'pg3', wait);
  await accessible(again, axe, 'after');
  for (const file of fs.readdirSync(pictures).filter((it) => it.endsWith('.txt'))) await draw(browser, path.join(pictures, file));
  console.log('after');
}

const browser = await launch();
try { await main(browser); } catch (error) { console.error(error); process.exitCode = 1; }
await browser.close();
