// The page in a real browser, over a scripted API server: hostile names, light and dark, a phone's width, 5,000 nodes and 50,000 pods,
// accessibility, and an API server that goes away and comes back. `node test.mjs PROGRAM MODULES [PICTURES]`.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { accessible, answers, installed, watch } from './browser.mjs';

const [program, modules, pictures] = process.argv.slice(2);
const { axe, launch } = installed(modules);
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
  const browser = await launch();
  const wide = { width: 1200, height: 900 };
  const looks = { light: { viewport: wide, colorScheme: 'light' }, dark: { viewport: wide, colorScheme: 'dark' }, phone: { viewport: { width: 375, height: 700 }, colorScheme: 'light' } };
  for (const [name, look] of Object.entries(looks)) {
    // axe is put into the page, which its policy forbids; in light it stands as it is.
    const context = await browser.newContext({ ...look, bypassCSP: name !== 'light' });
    const page = await context.newPage();
    const { errors, hosts } = watch(page);
    await page.goto(url);
    const whole = () => document.querySelectorAll('#nodes tbody tr').length === 50 && document.querySelector('#pods').textContent.includes('33330');
    await page.waitForFunction(whole, null, { timeout: 120_000 });
    assert.match(await page.textContent('#primary'), /<script>x<\/script>/, 'a hostile name is text');
    assert.match(await page.textContent('#message'), /<img src=x/);
    const held = await page.textContent('#held tbody');
    for (const part of [`<i>shop</i>/deployment/${'x'.repeat(253)}`, '\u202enwod', '<b>why</b>']) assert.ok(held.includes(part), `${part} is not in ${held}`);
    assert.equal(await page.evaluate(() => document.querySelectorAll('main script, main img, main i, main b').length), 0);
    await page.fill('#filter', 'y'.repeat(253));
    const alone = () => document.querySelectorAll('#nodes tbody tr').length === 1 && document.querySelector('#nodes tbody').textContent.includes('y'.repeat(253));
    await page.waitForFunction(alone, null, { timeout: 30_000 });
    await page.fill('#filter', '');
    await page.waitForFunction(whole, null, { timeout: 30_000 });
    assert.equal(await page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - window.innerWidth)), 0, `${name}: it is too wide`);
    await answers(page, name);
    assert.match(await page.textContent('#cell'), /→ pg1: .* ms/);
    if (name !== 'light') {
      await accessible(page, axe, name);
    }
    if (pictures) await page.screenshot({ path: path.join(pictures, `page-${name}.png`) });
    if (name === 'phone') {
      const away = (is) => document.querySelector('#alerts').textContent.includes('The API server doesn\'t tell') === is;
      api.kill();
      await page.waitForFunction(away, true, { timeout: 60_000 });
      console.log('the API server is away, and the page says so');
      await page.waitForFunction(() => /doesn't tell of Pod since (3\d|[4-9]\d|\d{3,}) s/.test(document.querySelector('#alerts').textContent), null, { timeout: 60_000 });
      assert.match(await page.textContent('#primary'), /<script>x/, 'what was known stays');
      await answers(page, 'after 30 s without an API server');
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
