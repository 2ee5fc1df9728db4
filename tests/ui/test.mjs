// The page in a real browser, over a scripted API server: hostile names, light and dark, a phone's width, 5,000 nodes and 50,000 pods,
// accessibility, and an API server that goes away and comes back. `node test.mjs PROGRAM MODULES [PICTURES]`.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const [program, modules, pictures] = process.argv.slice(2);
const require = createRequire(path.resolve(modules, 'package.json'));
const { chromium } = require('playwright-core');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const here = path.dirname(fileURLToPath(import.meta.url));
const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'switchover-ui-'));
const running = new Set();

const start = (command, args, env) => {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  running.add(child);
  child.on('exit', () => running.delete(child));
  return child;
};
const says = (child, pattern) => new Promise((resolve, reject) => {
  let text = '';
  child.stdout.on('data', (data) => { text += data; const found = text.match(pattern); if (found) resolve(found[0]); });
  child.on('exit', () => reject(new Error(`it ended: ${text}`)));
});
const freePort = () => new Promise((resolve) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(port)); });
});
const serveApi = async (port) => {
  const api = start(process.execPath, [path.join(here, 'api-server.mjs'), String(port)]);
  await says(api, /listening/);
  return api;
};

async function main() {
  const port = await freePort();
  let api = await serveApi(port);
  const kubeconfig = path.join(temporary, 'kubeconfig');
  fs.writeFileSync(kubeconfig, JSON.stringify({
    apiVersion: 'v1', kind: 'Config', 'current-context': 'c', users: [{ name: 'u', user: {} }],
    clusters: [{ name: 'c', cluster: { server: `http://127.0.0.1:${port}` } }], contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
  }));
  const ui = start(program, ['ui', '--port', '0'], { KUBECONFIG: kubeconfig });
  const url = await says(ui, /http:\/\/127\S+/);
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium-headless-shell', args: ['--no-sandbox'] });
  const wide = { width: 1200, height: 900 };
  const looks = { light: { viewport: wide, colorScheme: 'light' }, dark: { viewport: wide, colorScheme: 'dark' }, phone: { viewport: { width: 375, height: 700 }, colorScheme: 'light' } };
  for (const [name, look] of Object.entries(looks)) {
    // axe is put into the page, which its policy forbids; in light it stands as it is.
    const context = await browser.newContext({ ...look, bypassCSP: name !== 'light' });
    const page = await context.newPage();
    const errors = [];
    const hosts = new Set();
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    page.on('dialog', (dialog) => { errors.push('a dialog'); dialog.dismiss(); });
    page.on('request', (request) => hosts.add(new URL(request.url()).host));
    await page.goto(url);
    const whole = () => document.querySelectorAll('#nodes tbody tr').length === 50 && document.querySelector('#pods').textContent.includes('33330');
    await page.waitForFunction(whole, null, { timeout: 120_000 });
    assert.match(await page.textContent('#primary'), /<script>x<\/script>/, 'a hostile name is text');
    assert.match(await page.textContent('#message'), /<img src=x/);
    assert.equal(await page.evaluate(() => document.querySelectorAll('main script, main img').length), 0);
    assert.equal(await page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - window.innerWidth)), 0, `${name}: it is too wide`);
    await page.focus('#heat');
    const took = await page.evaluate(() => new Promise((resolve) => {
      const begun = performance.now();
      document.querySelector('#heat').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
      requestAnimationFrame(() => resolve(performance.now() - begun));
    }));
    console.log(`${name}: a key is answered within ${took.toFixed(0)} ms`);
    assert.ok(took < 100, `${took} ms`);
    assert.match(await page.textContent('#cell'), /→ pg1: .* ms/);
    if (name !== 'light') {
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run());
      const told = violations.map((it) => `${it.impact} ${it.id}: ${it.nodes.map((node) => node.target).join(' ')}`);
      console.log(`${name}: axe: ${told.join('; ') || 'nothing'}`);
      assert.deepEqual(violations.filter((it) => ['serious', 'critical'].includes(it.impact)).map((it) => it.id), []);
    }
    if (pictures) await page.screenshot({ path: path.join(pictures, `page-${name}.png`) });
    if (name === 'phone') {
      const away = (is) => document.querySelector('#alerts').textContent.includes('The API server doesn\'t tell') === is;
      api.kill();
      await page.waitForFunction(away, true, { timeout: 60_000 });
      console.log('the API server is away, and the page says so');
      api = await serveApi(port);
      await page.waitForFunction(away, false, { timeout: 120_000 });
      console.log('it is back, and the page has healed');
    }
    assert.deepEqual([...hosts], [new URL(url).host], 'nothing is asked of other hosts');
    assert.deepEqual(errors, []);
    await context.close();
  }
  await browser.close();
}

let code = 0;
try { await main(); } catch (error) { console.error(error); code = 1; }
for (const child of running) child.kill();
fs.rmSync(temporary, { recursive: true });
process.exit(code);
