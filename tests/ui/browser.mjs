// What every look at the page by a real browser needs: the browser, axe, and what a page may not do.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

// `modules`: where playwright-core and axe-core are installed.
export function installed(modules) {
  const require = createRequire(path.resolve(modules, 'package.json'));
  const { chromium } = require('playwright-core');
  const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
  return { axe, launch: () => chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium-headless-shell', args: ['--no-sandbox'] }) };
}

// What goes wrong in a page, and whom it asks for anything, from now on.
export function watch(page) {
  const seen = { errors: [], hosts: new Set() };
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && seen.errors.push(message.text()));
  page.on('dialog', (dialog) => { seen.errors.push('a dialog'); dialog.dismiss(); });
  page.on('request', (request) => seen.hosts.add(new URL(request.url()).host));
  return seen;
}

// axe is put into the page, which its policy forbids: the context was made with bypassCSP.
export async function accessible(page, axe, name) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const told = violations.map((it) => `${it.impact} ${it.id}: ${it.nodes.map((node) => node.target).join(' ')}`);
  console.log(`${name}: axe: ${told.join('; ') || 'nothing'}`);
  assert.deepEqual(violations.filter((it) => ['serious', 'critical'].includes(it.impact)).map((it) => it.id), []);
}

// How long a key on the heat map takes until the page is drawn anew, in milliseconds: the median of some, because others share the machine.
export async function answers(page, name) {
  await page.focus('#heat');
  const took = [];
  for (const key of ['ArrowRight', 'ArrowDown', 'ArrowLeft', 'ArrowUp', 'ArrowRight', 'ArrowLeft', 'ArrowRight']) {
    took.push(await page.evaluate((key) => new Promise((resolve) => {
      const begun = performance.now();
      document.querySelector('#heat').dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
      requestAnimationFrame(() => resolve(performance.now() - begun));
    }), key));
  }
  took.sort((a, b) => a - b);
  const [middle, most] = [took[3], took[6]].map((it) => it.toFixed(0));
  console.log(`${name}: a key is answered within ${middle} ms, at most ${most} ms`);
  assert.ok(took[3] < 100, `${middle} ms`);
}
